//! The socket below HTTP: it notices when a client hangs up, knows whose turn it is, and does not wait
//! for ever for a client that does not read.
//!
//! The HTTP library notices the end of a connection by reading, and it does not read while it has
//! anything unread: one byte behind a request would hide from it that the client is gone. So while a
//! request is being handled, [`Watch`] reads ahead. What it reads is kept for the library.
//!
//! Each change of turns is told to the registry of connections, see there: a connection may be closed
//! in favour of another one while it is the client's turn, and never while its request is being
//! handled or its answer written.

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
    time::{Sleep, sleep, timeout},
};

use super::{open_connections::Slot, stream::Stream};

/// What the HTTP library reads from and writes to.
pub(super) struct Socket {
    shared: Shared,
    clock: Clock,
    /// How long a write may make no progress.
    patience: Duration,
    impatience: Option<Pin<Box<Sleep>>>,
}

/// Follows the requests of a connection, and tells when the client hangs up or sends nothing for too
/// long.
#[derive(Clone)]
pub(crate) struct Watch(Shared);

/// The task of the connection is the only one that ever locks it, so nobody waits for it.
#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

struct State {
    stream: Stream,
    /// What was read ahead.
    ahead: Vec<u8>,
    turn: Turn,
    /// Whether there is more of the body of the latest request than was read, as far as is known.
    has_unread_body: bool,
    /// What the library wrote out of turn, see [`Watch::take_replaced`].
    replaced: Option<Vec<u8>>,
    /// When it became the client's turn: at the start, and whenever an answer went out.
    clients_turn: Time,
    slot: Slot,
}

/// Who is to do something next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// The client, to send the head of a request.
    Client,
    /// The client, to send the rest of a body.
    Body,
    /// The handler of a request.
    Handler,
    /// The client, to take its answer; the library has got all of it if `complete`.
    Answer { complete: bool, stalled: bool },
}

impl Socket {
    pub(super) fn new(stream: Stream, patience: Duration, slot: Slot) -> (Self, Watch) {
        let clock = slot.clock();
        let (ahead, turn, clients_turn) = (Vec::new(), Turn::Client, clock.now());
        let (has_unread_body, replaced) = (false, None);
        let state = State { stream, ahead, turn, has_unread_body, replaced, clients_turn, slot };
        let shared = Shared(Arc::new(Mutex::new(state)));
        let watch = Watch(shared.clone());
        (Self { shared, clock, patience, impatience: None }, watch)
    }
}

impl Watch {
    /// The head of a request is there, and its body may follow. Returns false if the connection is being
    /// closed: then the request must not be handled.
    #[must_use]
    pub(super) fn begin(&self, has_body: bool) -> bool {
        let mut state = self.0.lock();
        state.has_unread_body = has_body;
        state.turn = Turn::Handler;
        state.slot.begin()
    }

    /// The handler waits for the rest of the body.
    pub(super) fn wait_for_body(&self) {
        let mut state = self.0.lock();
        if state.turn == Turn::Handler {
            state.turn = Turn::Body;
            state.slot.wait_for_body();
        }
    }

    /// The handler waits no longer for the body. Returns false if the connection is being closed.
    #[must_use]
    pub(super) fn resume(&self) -> bool {
        let mut state = self.0.lock();
        if state.turn != Turn::Body {
            return true;
        }
        state.turn = Turn::Handler;
        state.slot.begin()
    }

    /// The body was read to its end.
    pub(super) fn end_body(&self) {
        self.0.lock().has_unread_body = false;
    }

    /// The handler has answered. Returns whether the connection should end with that.
    #[must_use]
    pub(super) fn answer(&self) -> bool {
        let mut state = self.0.lock();
        state.turn = Turn::Answer { complete: false, stalled: false };
        state.slot.is_surplus()
    }

    /// The library has taken all of the answer.
    pub(super) fn complete(&self) {
        if let Turn::Answer { complete, .. } = &mut self.0.lock().turn {
            *complete = true;
        }
    }

    /// Returns when the client hangs up while its request is being handled, or sends so much behind it
    /// that it could hang up unnoticed. Says which.
    ///
    /// To be polled by the task that polls the connection, after it.
    pub(super) async fn gone(&self) -> &'static str {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            match state.turn {
                Turn::Body | Turn::Handler => state.read_ahead(cx),
                Turn::Client | Turn::Answer { .. } => Poll::Pending,
            }
        })
        .await
    }

    /// The answer of the library to a head that it could not read; it is empty to the beginning of HTTP/2.
    /// It was not sent, so that a better one can be. `None` if another answer has been begun.
    pub(super) fn take_replaced(&self) -> Option<Vec<u8>> {
        let mut state = self.0.lock();
        (state.turn == Turn::Client).then(|| state.replaced.take().unwrap_or_default())
    }

    /// Sends this and nothing more. Only for when the library has done with the connection.
    pub(super) async fn close_with(&self, answer: &[u8]) -> io::Result<()> {
        let mut left = answer;
        let written = poll_fn(|cx| {
            let stream = &mut self.0.lock().stream;
            while !left.is_empty() {
                let written = ready!(Pin::new(&mut *stream).poll_write(cx, left))?;
                left = &left[written..];
            }
            Pin::new(stream).poll_shutdown(cx)
        });
        timeout(SILENCE, written).await?
    }

    /// Whether the client may still be sending a body that nobody reads.
    pub(super) fn has_unread_body(&self) -> bool {
        self.0.lock().has_unread_body
    }

    /// Reads what the client still sends, for nobody, until it hangs up: within limits of time and size.
    ///
    /// Who closes a connection with something unread resets it, and the client may lose the answer.
    pub(super) async fn linger(&self) {
        let mut left = MOST_DISCARDED;
        let until_the_end = async {
            // Returns early when there is nothing for a while: most clients have then read the answer.
            while let Ok(true) =
                timeout(SILENCE, poll_fn(|cx| self.0.lock().discard(cx, &mut left))).await
            {
            }
        };
        let _ = timeout(LINGER, until_the_end).await;
    }

    /// Returns when it has been the client's turn for longer than `patience`: the head of a request
    /// did not arrive in time.
    ///
    /// One timer for each connection, which is set again when it is up rather than at each request.
    pub(super) async fn overdue(&self, patience: Duration) {
        let clock = self.0.lock().slot.clock();
        let mut left = patience;
        while !left.is_zero() {
            sleep(left).await;
            let state = self.0.lock();
            left = match state.turn {
                Turn::Body | Turn::Handler => patience,
                Turn::Client | Turn::Answer { .. } => (state.clients_turn + patience) - clock.now(),
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
    /// Reads what there is, up to a bound. Ready when there will be no more, or when there is too much.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        let before = self.ahead.len();
        let mut bytes = [MaybeUninit::uninit(); 1024];
        let ended = loop {
            if self.ahead.len() >= MOST_AHEAD {
                // A body that is still being read may well be longer.
                let is_body = self.turn == Turn::Body || self.has_unread_body;
                break if is_body { Poll::Pending } else { Poll::Ready("it sent too much ahead") };
            }
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Err(_)) => break Poll::Ready(HUNG_UP),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break Poll::Ready(HUNG_UP),
                Poll::Ready(Ok(())) => self.ahead.extend_from_slice(buffer.filled()),
            }
        };
        if self.ahead.len() > before {
            // The library may be waiting for it.
            cx.waker().wake_by_ref();
        }
        ended
    }

    /// Reads and forgets. Returns false when there will be no more, or no more is `left` to read.
    fn discard(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<bool> {
        let mut bytes = [MaybeUninit::uninit(); 16 * 1024];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        *left = left.saturating_sub(buffer.filled().len());
        Poll::Ready(read.is_ok() && !buffer.filled().is_empty() && *left > 0)
    }

    /// The client took something.
    fn clear_stall(&mut self) {
        if let Turn::Answer { stalled: stalled @ true, .. } = &mut self.turn {
            *stalled = false;
            // If it is being closed, writing ends with the task.
            let _ = self.slot.begin();
        }
    }

    /// All that the library had for the client went out.
    fn flushed(&mut self) {
        if let Turn::Answer { complete: true, .. } = self.turn {
            self.turn = Turn::Client;
            self.slot.idle(self.clients_turn);
        }
    }

    /// Nothing goes out, for the client does not read.
    fn stall(&mut self) {
        if let Turn::Answer { stalled: stalled @ false, .. } = &mut self.turn {
            *stalled = true;
            self.slot.stalled();
        }
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
        if state.turn == Turn::Client {
            // The library answers only of itself when there is no request, and then it closes.
            state.replaced.get_or_insert_default().extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let progress = Pin::new(&mut state.stream).poll_write(cx, bytes);
        if progress.is_ready() {
            state.clients_turn = this.clock.now();
            state.clear_stall();
            this.impatience = None;
            return progress;
        }
        state.stall();
        let patience = this.patience;
        let timer = this.impatience.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    /// The library calls this when it has written everything it had.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if state.replaced.is_some() {
            // There is an answer still to be sent.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut state.stream).poll_shutdown(cx)
    }
}

const HUNG_UP: &str = "it hung up";
/// How much is read ahead at most, in bytes. Of a client that sends more behind a request nobody could
/// tell whether it is still there, so its connection is closed.
const MOST_AHEAD: usize = 64 * 1024;
/// How much is read for nobody at most, in bytes, after an answer that did not wait for the body.
const MOST_DISCARDED: usize = 32 * 1024 * 1024;
/// For how long, in all.
const LINGER: Duration = Duration::from_secs(10);
/// And for how long when nothing comes.
const SILENCE: Duration = Duration::from_secs(2);
