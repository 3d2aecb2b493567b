//! The contract of the HTTP interface, request by request, on paused time and without a socket.

mod answers;
mod bodies;
mod compression;
mod durability;
mod fencing;
mod limits;
mod listing;
mod locks;
mod metrics;
mod names;
mod nesting;
mod paths_and_queries;
mod refusals;
mod service;
#[path = "../stores/mod.rs"]
mod stores;
mod support;
mod waiting;
