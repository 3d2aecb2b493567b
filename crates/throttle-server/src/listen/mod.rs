//! Connections: accepted, counted, served, and brought to an end.
//!
//! A loop of our own instead of `axum::serve`, for what that leaves to others: a limit on the number
//! of connections, on the time a client takes to send a request, and on the time that stopping takes.
//! A client that goes away ends the future of its request at once, so a request that waits for a lock
//! hears of it by being dropped.

mod body;
mod socket;

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    pin::pin,
    time::Duration,
};

use axum::response::Response;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use throttle_runtime::Clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, error, warn};

pub(crate) use self::body::Punctual;
use self::socket::Socket;

/// Accepts connections and answers the requests that come on them.
#[derive(Debug)]
pub(crate) struct Server<A> {
    pub(crate) listener: TcpListener,
    /// Answers a request. What it returns is dropped when the client goes away.
    pub(crate) answer: A,
    pub(crate) limits: Limits,
    /// Becomes true when it is time to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most open connections.
    pub(crate) connections: usize,
    /// How long a client may take to send the head of a request, again for its body, and to take in
    /// any part of the answer.
    pub(crate) request_timeout: Duration,
    /// The largest head of a request, in bytes; at least 8192.
    pub(crate) head: usize,
}

impl<A, F> Server<A>
where
    A: Fn(Request<Punctual>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    /// Serves until it is told to stop; then requests that are being answered may finish for a while.
    pub(crate) async fn run(mut self) {
        let mut connections = JoinSet::new();
        let mut refusals = JoinSet::new();
        let mut is_exhausted = false;
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut self.stop) => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                Some(_) = refusals.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if connections.len() < self.limits.connections => {
                    is_exhausted = false;
                    connections.spawn(self.connection(stream));
                }
                // Whoever comes in crowds beyond that is not worth an answer.
                Ok((stream, _)) if refusals.len() < MAX_REFUSALS => {
                    refusals.spawn(timeout(REFUSAL_TIME, refuse(stream)));
                }
                Ok(_) => {}
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_exhausted, true) {
                        warn!(%error, "cannot accept connections; is the limit of open files too low?");
                    }
                    tokio::select! {
                        () = stopped(&mut self.stop) => break,
                        () = sleep(EXHAUSTED) => {}
                    }
                }
            }
        }
        drop(self.listener);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(GRACE, all_ended).await.is_err() {
            debug!("connections were cut off");
        }
    }

    /// Serves one connection.
    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + use<A, F> {
        let Limits { request_timeout, head, .. } = self.limits;
        let mut stop = self.stop.clone();
        let answer = self.answer.clone();
        async move {
            if let Err(error) = set_options(&stream) {
                debug!(%error, "a connection ended before it began");
                return;
            }
            let clock = Clock::start();
            let (socket, watch) = Socket::new(stream, clock, request_timeout);
            let service = service_fn(|request: Request<Incoming>| {
                let busy = watch.begin();
                let request = request.map(|body| Punctual::new(body, request_timeout));
                let answer = answer(request);
                async move {
                    let answer = answer.await;
                    drop(busy);
                    Ok::<_, Infallible>(answer)
                }
            });
            let mut http = http1::Builder::new();
            // Answers are so short that copying them behind their head is cheaper than a vectored write.
            http.max_buf_size(head).half_close(false).writev(false);
            let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = watch.hung_up() => return debug!("a client hung up"),
                () = watch.overdue(clock, request_timeout) => {
                    return debug!("a client took too long to send a request");
                }
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                debug!(%error, "a connection broke");
            }
        }
    }
}

/// Returns when it is time to stop, also because nobody is left who could say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection ended by a defect of this program");
    }
}

/// Answers are not delayed; and clients whose machine or network is gone are found out, so that
/// their place in a queue goes to somebody who is still there.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Says that there are too many connections, and hangs up when the client has heard it.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
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
/// How long to wait for others to close connections when no more can be opened.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How long requests that are being answered may take when the server stops.
const GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
