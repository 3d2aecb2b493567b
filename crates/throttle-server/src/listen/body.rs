//! The body of a request that has to arrive in time.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// A body that fails if it is not complete in time.
///
/// The time begins with the first wait for more. Most bodies are there with the head of the request,
/// and cost no timer.
#[derive(Debug)]
pub(crate) struct Punctual {
    body: Incoming,
    time: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Punctual {
    pub(super) fn new(body: Incoming, time: Duration) -> Self {
        let timer = None;
        Self { body, time, timer }
    }
}

impl Body for Punctual {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let time = self.time;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(time)));
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
