//! One connection, from its acceptance to its end.

use std::{error::Error, fmt, io, pin::pin, time::Duration};

use axum::response::Response;
use hyper::{
    Request,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use throttle_runtime::Clock;
use tokio::{net::TcpStream, sync::watch};
use tracing::debug;

use super::{
    Limits,
    body::{Answer, Punctual},
    registry::Slot,
    socket::Socket,
    stopped,
};

/// The connection is being closed in favour of another one.
#[derive(Debug)]
struct Evicted;

/// Serves the requests of one connection with `answer`, until either side closes it.
pub(super) async fn serve<A, F>(
    stream: TcpStream,
    slot: Slot,
    answer: A,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) where
    A: Fn(Request<Punctual>) -> F,
    F: Future<Output = Response>,
{
    let Limits { request_timeout, head, .. } = limits;
    if let Err(error) = set_options(&stream) {
        debug!(%error, "a connection ended before it began");
        return;
    }
    let clock = Clock::start();
    let (socket, watch) = Socket::new(stream, clock, request_timeout, slot);
    let service = service_fn(|request: Request<Incoming>| {
        let request = watch
            .begin(!request.body().is_end_stream())
            .then(|| request.map(|body| Punctual::new(body, request_timeout, watch.clone())));
        let answer = request.map(&answer);
        let watch = watch.clone();
        async move {
            let answer = answer.ok_or(Evicted)?.await;
            watch.answer();
            Ok::<_, Evicted>(answer.map(|body| Answer::new(body, watch)))
        }
    });
    let mut http = http1::Builder::new();
    // Answers are so short that copying them behind their head is cheaper than a vectored write.
    http.max_buf_size(head).half_close(false).writev(false);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        reason = watch.gone() => return debug!(reason, "a client is gone"),
        () = watch.overdue(clock, request_timeout) => {
            return debug!("a client took too long to send a request");
        }
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        return debug!(%error, "a connection broke");
    }
    if watch.has_unread_body() {
        tokio::select! {
            () = watch.linger() => {}
            () = stopped(&mut stop) => {}
        }
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

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed in favour of another one")
    }
}

impl Error for Evicted {}
