//! The client against servers that follow a script, and against the real routes.

mod answers;
mod contract;
mod faults;
mod requests;
mod retries;
mod sessions;
mod support;
mod unix_socket;
