//! The studies. Each measures one kind of thing at all servers in turn.

mod contention;
mod memory;
mod pauses;
mod queue;
mod start_up;
mod store;
mod throughput;

pub(crate) use self::{
    contention::contention, memory::memory, pauses::pauses, queue::queue, start_up::start_up,
    store::store, throughput::throughput,
};
