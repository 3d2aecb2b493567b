//! Bodies: of a request, which has to arrive in time, and of an answer, whose end is noticed.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::socket::Watch;

/// A body that fails if it is not complete in time.
///
/// The time begins with the first wait for more. Most bodies are there with the head of the request,
/// and cost no timer. While somebody waits for the rest, the connection counts as idle.
pub(crate) struct DeadlineBody {
    body: Incoming,
    time: Duration,
    /// `Some` while the rest is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    watch: Watch,
}

/// The body of an answer. The connection is told when the HTTP library has taken all of it.
pub(super) struct Answer {
    body: body::Body,
    watch: Watch,
}

impl DeadlineBody {
    pub(super) fn new(body: Incoming, time: Duration, watch: Watch) -> Self {
        let timer = None;
        Self { body, time, timer, watch }
    }

    /// Nobody waits for more of it.
    fn end(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.timer.take().is_some() && !self.watch.resume() {
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
                self.watch.end_body();
            }
            if is_end || matches!(frame, Some(Err(_))) {
                self.end()?;
            }
            return Poll::Ready(frame);
        }
        let this = &mut *self;
        let timer = this.timer.get_or_insert_with(|| {
            this.watch.wait_for_body();
            Box::pin(sleep(this.time))
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
        // If the connection is being closed, the handler ends with it.
        let _ = self.end();
    }
}

impl Answer {
    pub(super) fn new(body: body::Body, watch: Watch) -> Self {
        Self { body, watch }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.watch.complete();
    }
}
