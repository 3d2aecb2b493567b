//! A client of Throttle, semaphores for distributed systems over HTTP.
//!
//! [`Client`] has one method for each route of the server: it asks once, and tells what was
//! answered. Leases, heartbeats and what to do when the server forgot a peer are left to the caller.
//! It runs on tokio.
//!
//! ```
//! use std::time::Duration;
//! use throttle_client::{Admission, Client};
//!
//! # use std::collections::BTreeMap;
//! # use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mutex = SemaphoreConfig { max: Count::ONE, level: Level(0) };
//! # let handle = Handle::start(Settings::default(), &BTreeMap::from([("db".to_owned(), mutex)]));
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("http://{}", listener.local_addr()?);
//! # tokio::spawn(async { axum::serve(listener, throttle_http::routes(handle)).await });
//! let throttle = Client::new(url)?;
//!
//! // A peer is a session with a lease. Whoever holds locks for longer sends heartbeats.
//! let lease = Duration::from_secs(60);
//! let peer = throttle.new_peer(lease).labels([("job", "nightly")]).await?;
//!
//! match throttle.acquire(peer, "db", 1).block_for(Duration::from_secs(10)).await? {
//!     Admission::Held { token } => println!("it is ours; fencing token {token:?}"),
//!     Admission::Pending => println!("not within ten seconds, but we keep our place"),
//! }
//! throttle.heartbeat(peer, lease).await?;
//!
//! // Gives back all that the peer holds, and cancels what it waits for.
//! throttle.remove_peer(peer).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! What the server refuses is [`Error::Refused`] with a stable [`Code`] to branch on. Everything
//! else says how far a request came: [`Error::Connect`], [`Error::Timeout`], [`Error::Transport`].
//! Servers of version 0.5, which answer in plain text, are understood as well.
//!
//! # Retries
//!
//! The protocol is made so that nearly every request can be repeated without doing harm, and the
//! client repeats them, with growing pauses, when an answer is lost or the server is overloaded.
//! [`RetryPolicy`] says how often and for how long. Asking for a new peer and reloading the
//! configuration are repeated only if they certainly had no effect, and [`health`](Client::health)
//! and [`ready`](Client::ready) never, for they ask about this moment. Each further attempt is an
//! event of `tracing` at level DEBUG with the target `throttle::client`.
//!
//! # HTTPS
//!
//! The feature `tls` lets the client talk to `https`: rustls with ring, and the certificates that the
//! system trusts (on Linux also those that the environment variable `SSL_CERT_FILE` names). A program
//! that wants something else chooses it by a feature of `reqwest` and hands in its own configured
//! [`reqwest::Client`] by [`ClientBuilder::http_client`].

#![forbid(unsafe_code)]

mod acquire;
mod answer;
mod base;
#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
mod client;
mod error;
mod lease;
mod new_peer;
mod peer;
mod retry;
mod world;

pub use reqwest;
pub use throttle_wire::{
    Code, HeldLock, Holder, Labels, Peer as PeerStatus, PeerId, PendingLock, Reloaded, Restore,
    Semaphore, SemaphoreSummary, Waiter,
};

pub use crate::{
    acquire::{Acquire, Admission},
    builder::{ClientBuilder, http_client_builder},
    client::Client,
    error::Error,
    lease::Lost,
    new_peer::NewPeer,
    peer::{Lock, LockError, LockRequest, Peer, PeerBuilder},
    retry::RetryPolicy,
};

// The Rust in there is compiled like every other example.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
