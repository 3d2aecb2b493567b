//! The binary as a process: command line, signals, logs, and requests over real sockets.

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
