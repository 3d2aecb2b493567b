//! The studies: each asks one kind of question of all servers, in turns.

mod contention;
mod memory;
mod pauses;
mod queue;
mod start_up;
mod throughput;

pub(crate) use self::{
    contention::contention, memory::memory, pauses::pauses, queue::queue, start_up::start_up,
    throughput::throughput,
};
