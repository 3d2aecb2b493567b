//! The client against scripted servers and against the real routes.

mod answers;
mod contract;
mod credentials;
mod faults;
mod labels;
mod losses;
mod memory;
mod memory_store;
mod peers;
mod proxies;
mod real_server;
mod redirects;
mod removals;
mod renewals;
mod requests;
mod restarts;
mod retries;
mod retry_table;
mod scripted_server;
mod unix_socket;
mod waiting;
