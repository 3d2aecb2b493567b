//! The program as a process, against the real routes.
#![cfg(unix)]

mod ends;
mod lock;
mod show;
mod support;
