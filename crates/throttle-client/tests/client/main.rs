//! The client against servers that follow a script, and against the real routes.

mod answers;
mod contract;
mod faults;
mod peers;
mod requests;
mod retries;
mod support;
mod unix_socket;
