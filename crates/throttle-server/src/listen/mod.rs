//! Connections: accepted, counted, served, and brought to an end.
//!
//! A loop of our own instead of `axum::serve`, for what that leaves to others: a limit on the number
//! of connections and who has to leave when they run short (`registry`), limits on the time a client
//! takes to send a request and to take its answer (`connection`, `socket`, `body`), and on the time that
//! stopping takes. A client that goes away ends the future of its request at once, so a request that
//! waits for a lock is dropped then.

mod answer_body;
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

use std::{
    fmt,
    io::{self, ErrorKind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::response::Response;
use hyper::{Request, http::request::Parts};
use throttle_http::Malformed;
use throttle_runtime::Clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, error};

pub use self::socket_activation::InheritedSockets;
pub(crate) use self::{
    listener::Listeners,
    open_connections::{Capacity, ConnectionMetrics},
    slow_clients::DeadlineBody,
};
use self::{open_connections::OpenConnections, stream::Stream};

/// Accepts connections and answers the requests that come on them.
pub(crate) struct Server<S> {
    pub(crate) listeners: Listeners,
    pub(crate) service: S,
    pub(crate) limits: Limits,
    pub(crate) metrics: ConnectionMetrics,
    /// Ends a wait that may be cut short, in favour of others who need its connection. Returns whether
    /// there was one.
    pub(crate) end_short_wait: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Becomes true when it is time to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

/// What answers requests.
pub(crate) trait Service: Clone + Send + Sync + 'static {
    /// Answers a request. What it returns is dropped when the client goes away.
    fn answer(&self, request: Request<DeadlineBody>) -> impl Future<Output = Response> + Send;

    /// The answer to a request that breaks the rules of HTTP; its head, if that could be read.
    fn refuse(
        &self,
        malformed: Malformed,
        head: Option<Parts>,
    ) -> impl Future<Output = Response> + Send;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) capacity: Capacity,
    /// How long a client may take to send the head of a request, again for its body, and to take in
    /// any part of the answer.
    pub(crate) request_timeout: Duration,
    /// The largest head of a request, in bytes; at least 8192.
    pub(crate) head: usize,
    /// How long a connection is idle at least before it may be closed in favour of another one.
    pub(crate) idle: Duration,
    /// How long a client that was accepted, or that has sent a part of a body, may send nothing complete
    /// before its connection may be closed in favour of another one, while there is slack. Without
    /// slack it is `idle`.
    pub(crate) silence: Duration,
    /// How long a client may read nothing of its answer before its connection may be closed in favour
    /// of another one.
    pub(crate) stall: Duration,
    /// How long a newcomer is kept waiting for room, before it is answered that there is none.
    pub(crate) patience: Duration,
}

/// What became of the wait for room.
enum Room {
    Free,
    /// Everybody is being answered, and has been for too long.
    None,
    /// It is time to stop.
    Stop,
}

impl<S: Service> Server<S> {
    /// Serves until it is told to stop; then requests that are being answered may finish for a while.
    pub(crate) async fn run(mut self) {
        let registry = OpenConnections::new(self.limits, Clock::start(), self.metrics.clone());
        let mut connections = JoinSet::new();
        let mut refusals = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut self.stop) => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                Some(_) = refusals.join_next() => continue,
                accepted = self.listeners.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    match self.room(&registry, &mut connections).await {
                        Room::Free => registry.enter(|slot| {
                            let Self { service, limits, stop, .. } = &self;
                            let (service, stop) = (service.clone(), stop.clone());
                            let limits = *limits;
                            connections.spawn(async move {
                                if let Err(error) = stream.set_options() {
                                    return debug!(%error, "a connection ended before it began");
                                }
                                connection::serve(stream, slot, service, limits, stop).await;
                            })
                        }),
                        Room::None => {
                            registry.refuse();
                            // Whoever comes in crowds beyond that is not worth an answer.
                            if refusals.len() < MAX_REFUSALS {
                                refusals.spawn(timeout(REFUSAL_TIME, refuse(stream)));
                            }
                        }
                        Room::Stop => break,
                    }
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    registry.not_accepted(&error);
                    if !registry.evict() {
                        (self.end_short_wait)();
                    }
                    tokio::select! {
                        () = stopped(&mut self.stop) => break,
                        Some(ended) = connections.join_next() => report(ended),
                        () = sleep(EXHAUSTED) => {}
                    }
                }
            }
        }
        drop(self.listeners);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(GRACE, all_ended).await.is_err() {
            debug!("connections were cut off");
        }
    }

    /// Waits until there is room for one more connection. Who comes behind it stands in line in the
    /// operating system meanwhile.
    ///
    /// That takes no time, or little, unless more requests wait for locks than there may be connections.
    async fn room(&mut self, registry: &OpenConnections, connections: &mut JoinSet<()>) -> Room {
        let mut patience = pin!(sleep(self.limits.patience));
        let Capacity { connections: usual, slack } = self.limits.capacity;
        // Those that were chosen to be closed are open files until their tasks have ended.
        while !registry.make_room(&*self.end_short_wait) || connections.len() >= usual + slack {
            tokio::select! {
                () = stopped(&mut self.stop) => return Room::Stop,
                Some(ended) = connections.join_next() => report(ended),
                () = registry.changed() => {}
                () = sleep(RETRY) => {}
                () = patience.as_mut() => return Room::None,
            }
        }
        Room::Free
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.listeners)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Returns when it is time to stop, also because nobody is left who could say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn report(ended: Result<(), JoinError>) {
    // Those that were closed in favour of others were cancelled.
    if let Err(error) = ended
        && !error.is_cancelled()
    {
        error!(%error, "a connection ended by a defect of this program");
    }
}

/// Says that there are too many connections, and hangs up when the client has heard it.
async fn refuse(mut stream: Stream) -> io::Result<()> {
    stream.write_all(TOO_MANY_CONNECTIONS).await?;
    stream.shutdown().await?;
    // Who closes a connection with something unread resets it, and the answer may get lost.
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

/// Whether the next connection may do better.
fn concerns_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 21\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    \r\n\
    Too many connections.";
const MAX_REFUSALS: usize = 100;
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// How often to try again to make room: by then a wait may have become long enough to be ended.
const RETRY: Duration = Duration::from_millis(25);
/// How long to wait for others to close connections when no more can be opened.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How long requests that are being answered may take when the server stops.
const GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
