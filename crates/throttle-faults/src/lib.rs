//! Every client of Throttle behind a proxy that injects faults.
//!
//! A [`Proxy`](proxy::Proxy) stands in front of a [`Server`](server::Server) and does to requests what
//! networks, gateways and operators do to them. A [`Worker`](worker::Worker) is a process that takes a
//! lock through it with one [`Form`](form::Form) of the client: Rust, Python in two forms, `throttlectl`.
//!
//! Two things are proven with them. The [`table`] has a row for each fault in each phase of a lock, with
//! the outcome that is right for all forms alike. The [`history`] lets all forms compete for the same
//! semaphores under random faults, and checks that nobody was in who should have been out.

#![forbid(unsafe_code)]

pub mod clock;
pub mod form;
pub mod history;
pub mod outcome;
pub mod proxy;
pub mod server;
pub mod table;
pub mod worker;
