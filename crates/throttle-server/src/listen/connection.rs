//! One connection, from the first request to its end.

use std::{error::Error, fmt, pin::pin, time::Duration};

use axum::{body::to_bytes, response::Response};
use hyper::{
    Request,
    body::{Body as _, Incoming},
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use throttle_http::Malformed;
use tokio::sync::watch;
use tracing::debug;

use super::{
    ConnectionLimits, HttpService,
    answer_body::AnswerBody,
    exchange::{Duplex, Exchange},
    open_connections::Slot,
    slow_clients::{DeadlineBody, head_overdue},
    socket::Socket,
    stopped,
};

/// The connection is being closed in favour of another one.
#[derive(Debug)]
struct Evicted;

/// Serves the requests of one connection, until either side closes it.
pub(super) async fn serve(
    stream: impl Duplex,
    slot: Slot,
    service: impl HttpService,
    limits: ConnectionLimits,
    mut stop: watch::Receiver<bool>,
) {
    let ConnectionLimits { request_timeout, head_bytes, .. } = limits;
    let (socket, exchange) = Socket::new(stream, request_timeout, slot);
    let handler = service_fn(|request: Request<Incoming>| {
        let begun = exchange.begin(!request.body().is_end_stream());
        let (service, exchange) = (&service, exchange.clone());
        async move {
            if !begun {
                return Err(Evicted);
            }
            let mut answer =
                answer(service, request, (head_bytes, request_timeout), &exchange).await;
            if exchange.answer() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer.map(|body| AnswerBody::new(body, exchange)))
        }
    });
    let mut http = http1::Builder::new();
    // Answers are short, so copying one behind its head is cheaper than a vectored write.
    http.max_buf_size(head_bytes).half_close(false).writev(false);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), handler));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        reason = exchange.client_gone() => return debug!(reason, "a client is gone"),
        () = head_overdue(&exchange, request_timeout) => {
            return debug!("a client took too long to send a request");
        }
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let ending = async {
        match ended {
            Ok(()) if exchange.has_unread_body() => exchange.linger().await,
            Ok(()) => {}
            Err(error) => {
                debug!(%error, "a connection broke");
                if error.is_parse() {
                    refuse(&service, &error, &exchange).await;
                }
            }
        }
    };
    tokio::select! {
        () = ending => {}
        () = stopped(&mut stop) => {}
    }
}

/// The answer to a request. Its head must not be larger than the limit, and its body must arrive in time.
async fn answer(
    service: &impl HttpService,
    request: Request<Incoming>,
    (head_bytes, request_timeout): (usize, Duration),
    exchange: &Exchange,
) -> Response {
    if let Some(malformed) = Malformed::find(&request, head_bytes) {
        let (head, _) = request.into_parts();
        return service.refuse(malformed, Some(head)).await;
    }
    let request = request.map(|body| DeadlineBody::new(body, request_timeout, exchange.clone()));
    service.answer(request).await
}

/// Answers a request that the HTTP library could not parse, because the library's own answer has no body.
async fn refuse(service: &impl HttpService, error: &hyper::Error, exchange: &Exchange) {
    let too_large = error.is_parse_too_large();
    let malformed = if too_large { Malformed::HeadTooLarge } else { Malformed::Request };
    let (head, body) = service.refuse(malformed, None).await.into_parts();
    let Some(replaced) = exchange.take_replaced() else { return };
    let Ok(body) = to_bytes(body, usize::MAX).await else { return };
    let mut answer = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    // The date is taken from the library's own answer.
    let replaced = String::from_utf8_lossy(&replaced);
    if let Some(date) = replaced.lines().find(|line| line.starts_with("date: ")) {
        answer.extend([date.as_bytes(), b"\r\n"].concat());
    }
    answer
        .extend(format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes());
    answer.extend(body);
    if exchange.close_with(&answer).await.is_ok() {
        exchange.linger().await;
    }
}

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed in favour of another one")
    }
}

impl Error for Evicted {}
