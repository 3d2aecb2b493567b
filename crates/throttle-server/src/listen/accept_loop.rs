//! The loop that accepts connections: it makes room for each, starts its task, and ends all tasks when the server
//! stops.

use std::{
    fmt,
    io::{self, ErrorKind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use throttle_runtime::Clock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, error};

use super::{
    Capacity, ConnectionLimits, ConnectionMetrics, HttpService, Listeners, connection,
    open_connections::OpenConnections, stopped, stream::Stream,
};

/// Accepts connections and answers the requests that come on them.
pub(crate) struct Server<S> {
    pub(crate) listeners: Listeners,
    pub(crate) service: S,
    pub(crate) limits: ConnectionLimits,
    pub(crate) metrics: ConnectionMetrics,
    /// Ends a wait that may be cut short, in favour of a client that needs its connection. Returns whether there
    /// was one.
    pub(crate) end_short_wait: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Becomes true when the server is to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

/// The outcome of the wait for room.
enum Room {
    Free,
    /// All connections have been busy for too long.
    None,
    /// The server is to stop.
    Stop,
}

impl<S: HttpService> Server<S> {
    /// Serves until it is to stop. Requests that are being answered then have a moment to finish.
    pub(crate) async fn run(mut self) {
        let open = OpenConnections::new(self.limits, Clock::start(), self.metrics.clone());
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
                    match self.room(&open, &mut connections).await {
                        Room::Free => open.enter(|slot| {
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
                            open.refuse();
                            // In a crowd beyond that, connections are closed without an answer.
                            if refusals.len() < MAX_REFUSALS {
                                refusals.spawn(timeout(REFUSAL_TIMEOUT, refuse(stream)));
                            }
                        }
                        Room::Stop => break,
                    }
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    open.not_accepted(&error);
                    if !open.evict() {
                        (self.end_short_wait)();
                    }
                    tokio::select! {
                        () = stopped(&mut self.stop) => break,
                        Some(ended) = connections.join_next() => report(ended),
                        () = sleep(EXHAUSTED_PAUSE) => {}
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
        if timeout(STOP_TIMEOUT, all_ended).await.is_err() {
            debug!("connections were cut off");
        }
    }

    /// Waits until there is room for one more connection. Further ones wait in the backlog of the operating system.
    ///
    /// The wait is short unless more requests wait for locks than there may be connections.
    async fn room(&mut self, open: &OpenConnections, connections: &mut JoinSet<()>) -> Room {
        let mut room_timeout = pin!(sleep(self.limits.room_timeout));
        let Capacity { connections: usual, slack } = self.limits.capacity;
        // A connection that was chosen to be closed is an open file until its task has ended.
        while !open.make_room(&*self.end_short_wait) || connections.len() >= usual + slack {
            tokio::select! {
                () = stopped(&mut self.stop) => return Room::Stop,
                Some(ended) = connections.join_next() => report(ended),
                () = open.changed() => {}
                () = sleep(RETRY_INTERVAL) => {}
                () = room_timeout.as_mut() => return Room::None,
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

fn report(ended: Result<(), JoinError>) {
    // The task of a connection that was closed in favour of another one was cancelled.
    if let Err(error) = ended
        && !error.is_cancelled()
    {
        error!(%error, "a connection ended by a defect of this program");
    }
}

/// Answers that there are too many connections, and closes the connection when the client has read that.
async fn refuse(mut stream: Stream) -> io::Result<()> {
    stream.write_all(TOO_MANY_CONNECTIONS).await?;
    stream.shutdown().await?;
    // Closing a connection that has unread bytes resets it, and the answer may get lost.
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

/// Whether only one connection failed, so that the next one may succeed.
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
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often to try again to make room: meanwhile a wait may have become long enough to be ended.
const RETRY_INTERVAL: Duration = Duration::from_millis(25);
/// How long to wait for connections to end when the operating system opens no more.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How long requests that are being answered may take when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
