//! A client of Throttle, semaphores for distributed systems over HTTP.
//!
//! [`Client::lock`] takes a lock and keeps it alive. A program that takes several locks, nested or one after
//! another, uses a [`Peer`], which holds them. The client runs on tokio; the feature `blocking` is for
//! programs without an async runtime.
//!
//! ```
//! use std::time::Duration;
//! use throttle_client::Client;
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
//! let lock = throttle.lock("db").wait_at_most(Duration::from_secs(10)).await?;
//! // If the lock is lost, the work is dropped before another peer can be granted the lock.
//! let rows = lock.run(async { 42 }).await?;
//! lock.release().await?;
//! # assert!(throttle.peers().await?.is_empty());
//! # assert_eq!(rows, 42);
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] also has one method for each route of the server. These only send the request and return the
//! answer: the caller sends heartbeats, and restores a peer that the server forgot.
//!
//! # Lost locks
//!
//! If a server receives no request of a peer for the length of its lease, it grants the peer's locks to
//! others. The client knows when this may happen: it counts from the sending of the last confirmed heartbeat,
//! on a clock that includes time in suspension. It reports the loss before: [`Lock::run`] drops the work,
//! [`Lock::lost`] returns, [`Lock::check`] fails. Work that cannot be stopped in time sends the
//! [`Lock::fencing_token`] to the resource that it writes to, and the resource compares tokens or asks the server
//! ([`Client::is_held`]). [`Lost`] lists the reasons. The client logs by `tracing` events with the target
//! `throttle::client`; whatever endangers a lock has the level WARN.
//!
//! # Errors
//!
//! A refusal of the server is [`Error::Refused`] with a stable [`Code`] to branch on. The other errors say
//! how far a request came: [`Error::Connect`], [`Error::Timeout`], [`Error::Transport`]. Servers of version
//! 0.5, which answer in plain text, are supported as well.
//!
//! # Retries
//!
//! Nearly every request can be repeated without harm. If its answer is lost or the server is overloaded, the
//! client repeats it, with growing pauses. An answer that does not come from Throttle, such as the error page
//! of a proxy without a backend, counts as lost. These answers are final: refusals of Throttle, redirects
//! that are not followed, and demands for credentials.
//!
//! [`RetryPolicy`] sets how often and for how long requests are repeated. [`reload`](Client::reload) is
//! repeated only if the server certainly did not execute it. [`health`](Client::health) and
//! [`ready`](Client::ready) are never repeated, because they ask about the present. Each retry is a `tracing`
//! event at level DEBUG with the target `throttle::client`.
//!
//! A [`LockRequest`] does not count attempts: it is repeated until the caller's time is over, or forever
//! without a limit.
//!
//! # Redirects and proxies
//!
//! Redirects that keep the method (307, 308) are followed. If they lead to another server, neither the
//! credentials of the URL nor the headers added by the program are sent there. Errors about other redirects
//! name their `Location`.
//!
//! Proxies are taken from the environment variables `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`;
//! errors name the proxy that was used. Credentials in the URL of a server or a proxy are sent only to that
//! one.
//!
//! # HTTPS
//!
//! The feature `tls` adds `https`: rustls with ring (or the provider that the program has installed), and the
//! certificates that the system trusts (on Linux also those that the environment variable `SSL_CERT_FILE`
//! names). [`ClientBuilder::ca_certificates`] adds to these, and [`ClientBuilder::client_certificate`] is
//! sent to servers that ask for one. Without the feature, a client with an `https` URL cannot be built.
//!
//! # The HTTP library
//!
//! [`reqwest`] appears in one place of the interface: [`ClientBuilder::http_client`] takes a `reqwest`
//! client, for programs that need another TLS library, resolver or proxy. `reqwest` is re-exported so that
//! such programs get the matching version; a new major version of it is a new major version of this library.
//! Errors and headers are free of its types.

#![forbid(unsafe_code)]

mod answer;
#[cfg(feature = "blocking")]
pub mod blocking;
mod client;
mod clock;
mod endpoint;
mod error;
mod failover;
mod jitter;
mod lease;
mod peer;
mod process_labels;
mod retry;
mod sequence;
mod server_url;
mod suspend;
#[cfg(feature = "tls")]
mod tls;
mod transport;

pub use reqwest;
pub use throttle_wire::{
    Code, HeldLock, Holder, Labels, PeerId, PeerStatus, PendingLock, Readiness, Reloaded, Restore,
    SemaphoreOverview, SemaphoreStatus, Waiter,
};

pub use crate::{
    client::{Acquire, Admission, Client, ClientBuilder, NewPeer, http_client_builder},
    endpoint::Endpoint,
    error::Error,
    lease::Lost,
    peer::{Lock, LockError, LockRequest, Peer, PeerBuilder},
    process_labels::process_labels,
    retry::RetryPolicy,
};

// Compiles and runs the Rust examples of these documents.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/clients.md")]
struct Clients;
