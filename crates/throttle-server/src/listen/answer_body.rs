//! The body of an answer. It reports when the HTTP library has received all of it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body;
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::exchange::Exchange;

/// The body of an answer. The library drops it as soon as it has received all of it.
pub(super) struct AnswerBody {
    body: body::Body,
    exchange: Exchange,
}

impl AnswerBody {
    pub(super) fn new(body: body::Body, exchange: Exchange) -> Self {
        Self { body, exchange }
    }
}

impl Body for AnswerBody {
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

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.exchange.complete_answer();
    }
}
