//! A client of Throttle, semaphores for distributed systems over HTTP.
//!
//! [`Client::lock`] takes a lock and keeps it alive. A program that takes several, one within another or
//! one after another, has a [`Peer`] that holds them. It runs on tokio; the feature `blocking` is for
//! programs that do not.
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
//! // Should the lock get lost, the work ends before anybody else can be granted it.
//! let rows = lock.run(async { 42 }).await?;
//! lock.release().await?;
//! # assert!(throttle.peers().await?.is_empty());
//! # assert_eq!(rows, 42);
//! # Ok(())
//! # }
//! ```
//!
//! Below that, [`Client`] has one method for each route of the server: it asks once, and tells what was
//! answered. Leases, heartbeats and what to do when the server forgot a peer are then left to the
//! caller.
//!
//! # Locks that are lost
//!
//! A server that gets no request of a peer for the length of its lease grants its locks to others. The
//! client knows when that may happen, for it counts from before it sent its last heartbeat, on a
//! clock that goes on while the machine sleeps; and it says so before: [`Lock::run`] ends the work,
//! [`Lock::lost`] returns, [`Lock::check`] fails. What cannot be ended in time is fenced by
//! [`Lock::fencing_token`]. [`Lost`] tells the reasons. What happens is told by events of `tracing`
//! with the target `throttle::client`, whatever endangers a lock at level WARN.
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
//! client repeats them, with growing pauses, when an answer is lost or the server is overloaded. An
//! answer that is not Throttle's, such as the page of a proxy that has lost sight of the server, is no
//! answer. Final are refusals of Throttle, redirects that are not followed, and what asks for credentials.
//!
//! [`RetryPolicy`] says how often and for how long. [`reload`](Client::reload) is repeated only if it
//! certainly had no effect, and [`health`](Client::health) and [`ready`](Client::ready) never, for they
//! ask about this moment. Each further attempt is an event of `tracing` at level DEBUG with the target
//! `throttle::client`.
//!
//! A [`LockRequest`] does not count attempts: it asks until the time of whoever waits is over, and for ever
//! without a limit.
//!
//! # Redirects and proxies
//!
//! Redirects that keep the method (307, 308) are followed. Other servers to which they lead get neither
//! the credentials of the URL nor the headers that the program has added. Errors about other redirects
//! name their `Location`.
//!
//! Proxies are those that the environment names by `http_proxy`, `https_proxy`, `all_proxy` and
//! `no_proxy`; errors name them too. Credentials in the URL of a server or a proxy are for that one only.
//!
//! # HTTPS
//!
//! The feature `tls` lets the client talk to `https`: rustls with ring (or the provider that the program
//! has installed), and the certificates that the system trusts (on Linux also those that the environment
//! variable `SSL_CERT_FILE` names). [`ClientBuilder::ca_certificates`] adds to these, and
//! [`ClientBuilder::client_certificate`] is shown to servers that ask. Without the feature, `https` is
//! refused when the client is built.
//!
//! # The HTTP library
//!
//! [`reqwest`] is in the interface at one place: [`ClientBuilder::http_client`] takes a client of its own,
//! for programs that need another TLS, resolver or proxy than the default. It is re-exported so that they
//! get the version that fits; a new major version of it is one of this library. Who does not need this does
//! not come across it: errors and headers are free of its types.

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
    Code, HeldLock, Holder, Labels, PeerId, PeerStatus, PendingLock, Reloaded, Restore,
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

// The Rust in there is compiled like every other example.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/clients.md")]
struct Clients;
