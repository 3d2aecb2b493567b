//! The client against servers that follow a script, and against the real routes.

mod answers;
mod contract;
mod credentials;
mod farewells;
mod faults;
mod house;
mod labels;
mod losses;
mod patience;
mod peers;
mod proxies;
mod redirects;
mod renewals;
mod repeats;
mod requests;
mod retries;
mod support;
mod unix_socket;
