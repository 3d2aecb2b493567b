//! The program as a process, against the real routes.

#[cfg(target_os = "linux")]
mod completions;
mod documents;
#[cfg(unix)]
mod lock;
mod operator_commands;
#[cfg(target_os = "linux")]
mod output;
mod pages;
#[cfg(target_os = "linux")]
mod process_trees;
mod show;
#[cfg(target_os = "linux")]
mod signals_and_losses;
mod support;
#[cfg(target_os = "linux")]
mod terminal;
mod tls;
mod unix_socket;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(windows)]
mod windows;
