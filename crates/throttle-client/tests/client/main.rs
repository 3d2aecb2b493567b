//! The client against servers that follow a script, and against the real routes.

mod answers;
mod contract;
mod credentials;
mod faults;
mod peers;
mod proxies;
mod redirects;
mod repeats;
mod requests;
mod retries;
mod support;
mod unix_socket;
