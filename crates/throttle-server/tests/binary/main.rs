//! The binary from outside: command line, signals, logs, and what is on the wire.

mod command_line;
mod connections;
mod logs;
mod open_waits;
#[cfg(unix)]
mod readme;
mod reload;
mod serving;
mod shutdown;
mod sockets;
mod stall;
mod support;
#[cfg(target_os = "linux")]
mod systemd;
