//! The binary from outside: command line, signals, logs, and what is on the wire.

mod command_line;
mod logs;
#[cfg(target_os = "linux")]
mod manager;
mod open_waits;
mod reload;
mod serving;
mod shutdown;
mod stall;
mod support;
