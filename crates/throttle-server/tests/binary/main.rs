//! The binary as a process: command line, signals, logs, and requests over real sockets.

mod command_line;
mod connections;
mod durable;
mod grace_period;
mod logs;
mod open_waits;
#[cfg(unix)]
mod readme;
mod reload;
mod serving;
mod shutdown;
mod sockets;
mod stall;
mod state_file;
mod store_commands;
#[cfg(target_os = "linux")]
mod store_failure;
mod store_files;
mod support;
#[cfg(target_os = "linux")]
mod systemd;
