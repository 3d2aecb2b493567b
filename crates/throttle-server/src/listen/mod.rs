//! Connections: accepted, limited in number, served, and ended.
//!
//! This replaces `axum::serve`, which has no limit on the number of connections (`open_connections`), nor on the
//! time that a client takes to send a request and to read its answer (`slow_clients`), nor on the time that
//! stopping takes. When a client hangs up (`exchange`), the future of its request is dropped at once, and with it
//! a wait for a lock.

mod accept_loop;
mod answer_body;
mod capacity;
mod connection;
mod connection_phase;
mod eviction_order;
mod exchange;
mod listener;
mod open_connections;
mod shortage_log;
mod slow_clients;
mod socket;
mod socket_activation;
#[cfg(unix)]
mod socket_file;
mod stream;

use std::time::Duration;

use axum::response::Response;
use hyper::{Request, http::request::Parts};
use throttle_http::Malformed;
use tokio::sync::watch;

pub use self::socket_activation::InheritedSockets;
pub(crate) use self::{
    accept_loop::Server, capacity::Capacity, eviction_order::GracePeriods, listener::Listeners,
    open_connections::ConnectionMetrics, slow_clients::DeadlineBody,
};

/// Answers requests.
pub(crate) trait HttpService: Clone + Send + Sync + 'static {
    /// Answers a request. The future is dropped when the client hangs up.
    fn answer(&self, request: Request<DeadlineBody>) -> impl Future<Output = Response> + Send;

    /// The answer to a request that HTTP does not allow, and whose head is given if it could be parsed.
    fn refuse(
        &self,
        malformed: Malformed,
        head: Option<Parts>,
    ) -> impl Future<Output = Response> + Send;
}

/// What connections may cost, in number, time and bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub(crate) capacity: Capacity,
    /// How long a client may take to send the head of a request, again for its body, and to read any part of
    /// the answer.
    pub(crate) request_timeout: Duration,
    /// The largest head of a request; at least 8192.
    pub(crate) head_bytes: usize,
    pub(crate) grace: GracePeriods,
    /// How long a new connection waits for room before it is answered 503.
    pub(crate) room_timeout: Duration,
}

/// Resolves when the server is to stop, or when the sender is gone that could stop it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests;
