//! The socket below HTTP: it hears when a client hangs up, and does not wait for ever for one that
//! does not read.
//!
//! The HTTP library notices the end of a connection by reading, and it does not read while it has
//! anything unread: one byte behind a request would hide from it that the client is gone. So while a
//! request is being handled, [`Watch`] reads ahead. What it reads is kept for the library.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};

use throttle_runtime::{Clock, Time};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// What the HTTP library reads from and writes to.
#[derive(Debug)]
pub(super) struct Socket {
    shared: Shared,
    clock: Clock,
    /// How long a write may make no progress.
    patience: Duration,
    impatience: Option<Pin<Box<Sleep>>>,
}

/// Whoever has this hears when the client hangs up, or sends nothing for too long.
#[derive(Clone, Debug)]
pub(super) struct Watch(Shared);

/// The task of the connection is the only one that ever locks it, so nobody waits for it.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    stream: TcpStream,
    /// What was read ahead.
    ahead: Vec<u8>,
    /// Whether a request is being handled.
    busy: bool,
    /// When it became the client's turn: at the start, and whenever an answer went out.
    clients_turn: Time,
}

/// A request that is being handled.
#[derive(Debug)]
pub(super) struct Busy(Shared);

impl Socket {
    pub(super) fn new(stream: TcpStream, clock: Clock, patience: Duration) -> (Self, Watch) {
        let (ahead, clients_turn) = (Vec::new(), clock.now());
        let state = State { stream, ahead, busy: false, clients_turn };
        let shared = Shared(Arc::new(Mutex::new(state)));
        let watch = Watch(shared.clone());
        (Self { shared, clock, patience, impatience: None }, watch)
    }
}

impl Watch {
    /// A request begins to be handled. It ends when what is returned is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.0.lock().busy = true;
        Busy(self.0.clone())
    }

    /// Returns when the client hangs up while its request is being handled.
    ///
    /// To be polled by the task that polls the connection, after it.
    pub(super) async fn hung_up(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.busy { state.read_ahead(cx) } else { Poll::Pending }
        })
        .await;
    }

    /// Returns when it has been the client's turn for longer than `patience`: the head of a request
    /// did not arrive in time.
    ///
    /// One timer for each connection, which is set again when it is up rather than at each request.
    pub(super) async fn overdue(&self, clock: Clock, patience: Duration) {
        let mut left = patience;
        while !left.is_zero() {
            sleep(left).await;
            let state = self.0.lock();
            left = match state.busy {
                true => patience,
                false => (state.clients_turn + patience) - clock.now(),
            };
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl State {
    /// Reads what there is, up to a bound. Ready when there will be no more.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let before = self.ahead.len();
        let mut bytes = [MaybeUninit::uninit(); 1024];
        let ended = loop {
            if self.ahead.len() >= MOST_AHEAD {
                break Poll::Pending;
            }
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Err(_)) => break Poll::Ready(()),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break Poll::Ready(()),
                Poll::Ready(Ok(())) => self.ahead.extend_from_slice(buffer.filled()),
            }
        };
        if self.ahead.len() > before {
            // The library may be waiting for it.
            cx.waker().wake_by_ref();
        }
        ended
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().busy = false;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if state.ahead.is_empty() {
            return Pin::new(&mut state.stream).poll_read(cx, buffer);
        }
        let length = state.ahead.len().min(buffer.remaining());
        buffer.put_slice(&state.ahead[..length]);
        state.ahead.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    /// Fails if it has made no progress for too long.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut state = this.shared.lock();
        let progress = Pin::new(&mut state.stream).poll_write(cx, bytes);
        if progress.is_ready() {
            state.clients_turn = this.clock.now();
            this.impatience = None;
            return progress;
        }
        let patience = this.patience;
        let timer = this.impatience.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is on its way.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared.lock().stream).poll_shutdown(cx)
    }
}

/// How much is read ahead at most, in bytes. Whoever sends more behind a request is there to send it.
const MOST_AHEAD: usize = 64 * 1024;
