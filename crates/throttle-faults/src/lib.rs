//! Runs every client of Throttle behind a proxy that injects faults, and beside a server that is killed.
//!
//! A [`Proxy`](proxy::Proxy) in front of a [`Server`](server::Server) injects the faults of networks, gateways
//! and operators. A [`WorkerProcess`](worker_process::WorkerProcess) takes a lock through it with one
//! [`ClientKind`](client_kind::ClientKind): the client in Rust, one of the two in Python, or `throttlectl`.
//!
//! Two tests use them. The [`table`] has a row for each fault in each phase of a lock; its expected outcome is
//! the same for all client kinds. In the [`history`] all client kinds compete for the same semaphores under
//! random faults, and a check finds any moment with more holders than the maximum.
//!
//! [`crash`] needs no proxy: it kills a server with a store again and again, and checks that nothing that was
//! acknowledged is lost. Both it and the history reason about locks with [`claims`].

#![forbid(unsafe_code)]

pub mod claims;
pub mod client_kind;
pub mod clock;
pub mod crash;
pub mod history;
pub mod proxy;
pub mod server;
pub mod table;
pub mod worker_outcome;
pub mod worker_process;
