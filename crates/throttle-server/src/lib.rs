//! The server `throttle`: semaphores for distributed systems over HTTP.
//!
//! This library is the server without command line, signals and systemd, which the binary adds. It turns a
//! [`Config`](config::Config) into a server that listens:
//!
//! ```
//! use std::path::Path;
//! use throttle_server::{config::Config, start};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::parse("[semaphores]\nA = 42", Path::new("example.toml"))?;
//! let server = start(("127.0.0.1", 0), config, None).await?;
//! println!("{}", server.addresses()[0].url());
//! server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Requests are answered by `throttle_http`, and locks are granted by `throttle_runtime`. This crate has what is
//! around them: configuration, logging, connections, metrics, reloading, stopping.

#![forbid(unsafe_code)]

mod address;
pub mod config;
mod listen;
pub mod logging;
mod open_files;
mod persistence;
mod reload;
mod server;
mod server_metrics;
pub mod wall_clock;

pub use crate::{
    address::{Address, BoundAddress},
    listen::InheritedSockets,
    open_files::raise_limit,
    reload::ReloadError,
    server::{Running, ServerFailure, StartError, start, start_on},
};
