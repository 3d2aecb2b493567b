//! The history of exclusion: who was in when, with all kinds of the client at the same semaphores.
//!
//! The workers are told by one process when to leave, and it hears from them when they have entered, so
//! the order in which it notes both is the clock that they share: whoever is noted as in is in. Nobody is
//! noted before it holds the lock, and nobody gives it back before it is noted as out.
//!
//! While they work, faults are injected at random. None lasts as long as a lease, so nobody may lose a lock.
//! [`History::check`] finds out whether the history is one that Throttle promises.

mod check;
mod random_faults;
mod run;

pub use self::{
    check::{Event, History, Step, Summary, Violation},
    run::{Plan, run},
};
