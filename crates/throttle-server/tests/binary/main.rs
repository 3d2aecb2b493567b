//! The binary from outside: command line, signals, logs, and what is on the wire.

mod command_line;
mod connections;
mod logs;
mod reload;
mod serving;
mod shutdown;
mod sockets;
mod support;
