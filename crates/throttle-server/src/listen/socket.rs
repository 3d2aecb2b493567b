//! The socket that the HTTP library reads from and writes to, over any stream of bytes.
//!
//! It hands out bytes that were read ahead (`exchange`), reports the progress of answers, and gives up on a client
//! that does not read (`slow_clients`).

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use throttle_runtime::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    exchange::{Duplex, Exchange, State, lock},
    open_connections::Slot,
    slow_clients::WriteTimeout,
};

/// A connection to a client over the stream `S`.
pub(super) struct Socket<S> {
    state: Arc<Mutex<State<S>>>,
    clock: Clock,
    write_timeout: WriteTimeout,
}

impl<S: Duplex> Socket<S> {
    /// The socket of a connection that was accepted just now. A write may make no progress for `write_timeout`.
    pub(super) fn new(stream: S, write_timeout: Duration, slot: Slot) -> (Self, Exchange) {
        let clock = slot.clock();
        let (exchange, state) = Exchange::new(stream, slot);
        (Self { state, clock, write_timeout: WriteTimeout::new(write_timeout) }, exchange)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = lock(&self.state);
        if state.ahead.is_empty() {
            return Pin::new(&mut state.stream).poll_read(cx, buffer);
        }
        let length = state.ahead.len().min(buffer.remaining());
        buffer.put_slice(&state.ahead[..length]);
        state.ahead.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut state = lock(&this.state);
        if state.replace(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let progress = Pin::new(&mut state.stream).poll_write(cx, bytes);
        if progress.is_ready() {
            state.progress(this.clock.now());
            this.write_timeout.reset();
            return progress;
        }
        state.stall();
        let error = ready!(this.write_timeout.poll_expired(cx));
        Poll::Ready(Err(error))
    }

    /// The library calls this when it has written everything it had.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.state).flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.state);
        if state.has_replaced() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut state.stream).poll_shutdown(cx)
    }
}
