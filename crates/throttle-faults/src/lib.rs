//! Every client of Throttle behind a proxy that injects faults.
//!
//! A [`Proxy`](proxy::Proxy) stands in front of a [`Server`](server::Server) and does to requests what
//! networks, gateways and operators do to them. A [`WorkerProcess`](worker::WorkerProcess) is a process that takes a
//! lock through it with one [`ClientKind`](form::ClientKind) of the client: Rust, Python in two kinds, `throttlectl`.
//!
//! Two things are proven with them. The [`table`] has a row for each fault in each phase of a lock, with
//! the outcome that is right for all kinds alike. The [`history`] lets all kinds compete for the same
//! semaphores under random faults, and checks that nobody was in who should have been out.

#![forbid(unsafe_code)]

pub mod client_kind;
pub mod clock;
pub mod history;
pub mod proxy;
pub mod server;
pub mod table;
pub mod worker_outcome;
pub mod worker_process;
