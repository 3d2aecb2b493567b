//! The program as a process, against the real routes.

mod documents;
#[cfg(unix)]
mod ends;
#[cfg(target_os = "linux")]
mod families;
#[cfg(unix)]
mod lock;
mod show;
mod support;
mod unix_socket;
#[cfg(windows)]
mod windows;
