//! The history of exclusion: all client kinds compete for the same semaphores, and their steps are recorded.
//!
//! One process records all steps. It records an entry after the worker has reported that it holds the lock, and
//! an exit before it tells the worker to release the lock. So a worker that is recorded as inside does hold the
//! lock, and the order of the records needs no common clock.
//!
//! Meanwhile faults are injected at random. None lasts as long as a lease, so no worker may lose a lock.
//! [`History::check`] checks the recorded history.

mod check;
mod random_faults;
mod run;

pub use self::{
    check::{Event, History, Step, Summary},
    run::{Plan, run},
};
