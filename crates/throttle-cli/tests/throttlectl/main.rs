//! The program as a process, against the real routes.

#[cfg(target_os = "linux")]
mod completions;
mod documents;
#[cfg(target_os = "linux")]
mod ends;
#[cfg(target_os = "linux")]
mod families;
#[cfg(unix)]
mod lock;
mod operate;
#[cfg(target_os = "linux")]
mod output;
mod pages;
mod show;
mod support;
#[cfg(target_os = "linux")]
mod terminal;
mod tls;
mod unix_socket;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(windows)]
mod windows;
