//! Crashes: the server is killed at random moments under load and started again, many times.
//!
//! Clients of all kinds load one server with a store. Some send plain HTTP (`random_walk.rs`) and record each
//! request before it is sent and each answer after it has arrived; the others are the clients in Rust and Python
//! and `throttlectl` (`clients.rs`). Nobody else tells the history, and no clock but that of this process.
//!
//! A [`Checker`] decides from what was acknowledged alone. A request without an answer is *unknown*: it was served
//! or not, and a later answer tells. It checks that
//!
//! - what was acknowledged or shown is still true after a restart: peers, locks with their counts and tokens,
//!   places in queues, removals, and the numbers that make late requests stale;
//! - the counts that are certainly held never exceed a maximum;
//! - the queues are served in order, and the tokens of a semaphore grow, also across restarts;
//! - at the end nothing is held and no peer is left.
//!
//! A run that exercised too little is an error ([`Coverage`]). Before it proves anything about the server, the
//! checker must find servers that break these promises on purpose ([`StoreFault`]).

mod checker;
mod clients;
mod coverage;
mod crowd;
mod event;
mod peer_knowledge;
mod peer_state;
mod random_walk;
mod raw_http;
mod recorder;
mod run;
mod serve;
mod server_process;
mod store_fault;
#[cfg(test)]
mod tests;

pub use self::{
    checker::{Checker, RequestNumber},
    coverage::Coverage,
    event::{Answer, Lock, Request, Semaphore},
    run::{CrashPlan, Outcome, run},
    serve::serve,
    server_process::ServerProgram,
    store_fault::{FaultyStore, StoreFault},
};
