//! The binary from outside: command line, signals, logs, and what is on the wire.

mod command_line;
mod logs;
mod open_waits;
mod reload;
mod serving;
mod shutdown;
mod stall;
mod support;
