//! Slow clients are cut off here: `limits.request_timeout` for the head of a request, for its body, and for each
//! part of the answer.
//!
//! No timer is set per request: most bodies arrive together with their head, most writes succeed at once, and one
//! timer for the heads of a connection is set again only when it expires.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::exchange::Exchange;

/// Resolves when the client has taken longer than `timeout` to send the head of a request.
pub(super) async fn head_overdue(exchange: &Exchange, timeout: Duration) {
    let mut left = timeout;
    while !left.is_zero() {
        sleep(left).await;
        left = exchange.left_for_head(timeout);
    }
}

/// The body of a request, which fails if it is not complete in time.
///
/// The time begins with the first wait for more of it. While the handler waits, the connection counts as idle.
pub(crate) struct DeadlineBody {
    body: Incoming,
    timeout: Duration,
    /// `Some` while the handler waits for the rest.
    timer: Option<Pin<Box<Sleep>>>,
    exchange: Exchange,
}

impl DeadlineBody {
    pub(super) fn new(body: Incoming, timeout: Duration, exchange: Exchange) -> Self {
        Self { body, timeout, timer: None, exchange }
    }

    /// Ends the wait for more of the body, if there is one.
    fn stop_waiting(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.timer.take().is_some() && !self.exchange.resume() {
            return Err("the connection was closed in favour of another one".into());
        }
        Ok(())
    }
}

impl Body for DeadlineBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let frame = frame.map(|frame| frame.map_err(Into::into));
            let is_end = frame.is_none() || self.body.is_end_stream();
            if is_end {
                self.exchange.end_body();
            }
            if is_end || matches!(frame, Some(Err(_))) {
                self.stop_waiting()?;
            }
            return Poll::Ready(frame);
        }
        let this = &mut *self;
        let timer = this.timer.get_or_insert_with(|| {
            this.exchange.wait_for_body();
            Box::pin(sleep(this.timeout))
        });
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err("the body did not arrive in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for DeadlineBody {
    fn drop(&mut self) {
        // An error means that the connection is being closed, and the handler with it.
        let _ = self.stop_waiting();
    }
}

/// How long a write may make no progress.
pub(super) struct WriteTimeout {
    timeout: Duration,
    /// `Some` while the client does not read.
    timer: Option<Pin<Box<Sleep>>>,
}

impl WriteTimeout {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, timer: None }
    }

    /// Notes that a write made progress.
    pub(super) fn reset(&mut self) {
        self.timer = None;
    }

    /// Ready with the error of the write if it has made no progress for too long.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))
    }
}
