//! The exchange of requests and answers on a connection: whose turn it is, and whether the client is still there.
//!
//! The HTTP library notices the end of a connection by reading, and it does not read while it has
//! anything unread: a single byte behind a request would hide from it that the client is gone. So while a
//! request is being handled, [`Exchange::client_gone`] reads ahead, and keeps what it reads for the library.
//!
//! Each change of turns is reported to the open connections (`open_connections`): a connection may be closed in
//! favour of another one while the server waits for its client, and never while its request is being handled or
//! its answer written.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};

use throttle_runtime::Time;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::open_connections::Slot;

/// Bytes in both directions: a socket, or whatever comes between a socket and HTTP.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for S {}

/// The view that the task of a connection and the bodies of its requests and answers have of it.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Mutex<State<dyn Duplex>>>);

/// The state of a connection, over the stream `S`.
///
/// Only the task of the connection locks it, so locking never blocks.
pub(super) struct State<S: ?Sized> {
    /// Bytes that were read ahead.
    pub(super) ahead: Vec<u8>,
    turn: Turn,
    /// Whether the body of the latest request has more bytes than were read, as far as is known.
    has_unread_body: bool,
    /// What the library wrote without a request, see [`Exchange::take_replaced`].
    replaced: Option<Vec<u8>>,
    /// When the server began to wait for a head: at the start, and whenever a part of an answer went out.
    waits_since: Time,
    slot: Slot,
    pub(super) stream: S,
}

/// Who acts next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// The client sends the head of a request.
    Head,
    /// The client sends the rest of a body.
    Body,
    /// The handler answers a request.
    Handler,
    /// The client reads its answer. If `complete`, the library has received all of it from the handler.
    Answer { complete: bool, stalled: bool },
}

impl Exchange {
    /// The exchange on a connection that was accepted just now, and the state for its socket.
    pub(super) fn new<S: Duplex>(stream: S, slot: Slot) -> (Self, Arc<Mutex<State<S>>>) {
        let state = Arc::new(Mutex::new(State {
            ahead: Vec::new(),
            turn: Turn::Head,
            has_unread_body: false,
            replaced: None,
            waits_since: slot.clock().now(),
            slot,
            stream,
        }));
        (Self(Arc::clone(&state) as _), state)
    }

    /// Notes that the head of a request has arrived. Returns false if the connection is being closed: then
    /// the request must not be handled.
    #[must_use]
    pub(super) fn begin(&self, has_body: bool) -> bool {
        let mut state = self.lock();
        state.has_unread_body = has_body;
        state.turn = Turn::Handler;
        state.slot.begin()
    }

    /// Notes that the handler waits for the rest of the body.
    pub(super) fn wait_for_body(&self) {
        let mut state = self.lock();
        if state.turn == Turn::Handler {
            state.turn = Turn::Body;
            state.slot.wait_for_request();
        }
    }

    /// Notes that the handler no longer waits for the body. Returns false if the connection is being closed.
    #[must_use]
    pub(super) fn resume(&self) -> bool {
        let mut state = self.lock();
        if state.turn != Turn::Body {
            return true;
        }
        state.turn = Turn::Handler;
        state.slot.begin()
    }

    /// Notes that the body was read to its end.
    pub(super) fn end_body(&self) {
        self.lock().has_unread_body = false;
    }

    /// Notes that the handler has answered. Returns whether the connection should end with this answer.
    #[must_use]
    pub(super) fn answer(&self) -> bool {
        let mut state = self.lock();
        state.turn = Turn::Answer { complete: false, stalled: false };
        state.slot.is_surplus()
    }

    /// Notes that the library has received all of the answer.
    pub(super) fn complete_answer(&self) {
        if let Turn::Answer { complete, .. } = &mut self.lock().turn {
            *complete = true;
        }
    }

    /// Resolves when the client hangs up while its request is being handled, or when it sends so much behind the
    /// request that it could hang up unnoticed. Returns which of the two.
    ///
    /// The task that polls the connection must poll this after it.
    pub(super) async fn client_gone(&self) -> &'static str {
        poll_fn(|cx| {
            let mut state = self.lock();
            match state.turn {
                Turn::Body | Turn::Handler => state.read_ahead(cx),
                Turn::Head | Turn::Answer { .. } => Poll::Pending,
            }
        })
        .await
    }

    /// The library's own answer to a head that it could not parse; empty for the preface of HTTP/2.
    ///
    /// It was not sent, so that a better one can be sent in its place. `None` if another answer has begun.
    pub(super) fn take_replaced(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        (state.turn == Turn::Head).then(|| state.replaced.take().unwrap_or_default())
    }

    /// Sends a last answer and closes the writing side. The library must be done with the connection.
    pub(super) async fn close_with(&self, answer: &[u8]) -> io::Result<()> {
        let mut left = answer;
        let written = poll_fn(|cx| {
            let stream = &mut self.lock().stream;
            while !left.is_empty() {
                let written = ready!(Pin::new(&mut *stream).poll_write(cx, left))?;
                left = &left[written..];
            }
            Pin::new(stream).poll_shutdown(cx)
        });
        timeout(LAST_WRITE_TIMEOUT, written).await?
    }

    /// Whether the client may still be sending a body that no handler reads.
    pub(super) fn has_unread_body(&self) -> bool {
        self.lock().has_unread_body
    }

    /// Reads and discards what the client still sends until it hangs up, within limits of time and size.
    ///
    /// Closing a connection that has unread bytes resets it, and the client may lose the answer.
    pub(super) async fn linger(&self) {
        let mut left = MOST_DISCARDED;
        let until_the_end = async {
            // Ends early when nothing arrives for a while: by then most clients have read the answer.
            while let Ok(true) =
                timeout(LINGER_READ_TIMEOUT, poll_fn(|cx| self.lock().discard(cx, &mut left))).await
            {
            }
        };
        let _ = timeout(LINGER_TIMEOUT, until_the_end).await;
    }

    /// How much is left of a timeout for the head of a request. All of it while a request is being handled.
    pub(super) fn left_for_head(&self, timeout: Duration) -> Duration {
        let state = self.lock();
        match state.turn {
            Turn::Body | Turn::Handler => timeout,
            Turn::Head | Turn::Answer { .. } => (state.waits_since + timeout) - state.now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<dyn Duplex>> {
        lock(&self.0)
    }
}

impl<S: ?Sized> State<S> {
    /// Notes that the client took `now` a part of its answer.
    pub(super) fn progress(&mut self, now: Time) {
        self.waits_since = now;
        if let Turn::Answer { stalled: stalled @ true, .. } = &mut self.turn {
            *stalled = false;
            // If the connection is being closed, writing ends with its task.
            let _ = self.slot.begin();
        }
    }

    /// Notes that nothing goes out, because the client does not read.
    pub(super) fn stall(&mut self) {
        if let Turn::Answer { stalled: stalled @ false, .. } = &mut self.turn {
            *stalled = true;
            self.slot.stall();
        }
    }

    /// Notes that everything the library had for the client went out.
    pub(super) fn flushed(&mut self) {
        if let Turn::Answer { complete: true, .. } = self.turn {
            self.turn = Turn::Head;
            self.slot.become_idle(self.waits_since);
        }
    }

    /// Keeps bytes that the library writes without a request, instead of sending them. Returns whether it did.
    ///
    /// Such bytes are the library's own answer to a broken head; afterwards it closes the connection.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> bool {
        let is_own_answer = self.turn == Turn::Head;
        if is_own_answer {
            self.replaced.get_or_insert_default().extend_from_slice(bytes);
        }
        is_own_answer
    }

    /// Whether an answer of the library was kept back, so that another one must still be sent.
    pub(super) fn has_replaced(&self) -> bool {
        self.replaced.is_some()
    }

    fn now(&self) -> Time {
        self.slot.clock().now()
    }
}

impl<S: AsyncRead + Unpin + ?Sized> State<S> {
    /// Reads what has arrived, up to a bound. Ready when the client hung up or sent too much.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        let before = self.ahead.len();
        let mut bytes = [MaybeUninit::uninit(); 1024];
        let ended = loop {
            if self.ahead.len() >= MOST_AHEAD {
                // A body that is still being read may be longer.
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
            // The library may be waiting for these bytes.
            cx.waker().wake_by_ref();
        }
        ended
    }

    /// Reads and discards. Returns false when the client hung up, or when no more is `left` to read.
    fn discard(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<bool> {
        let mut bytes = [MaybeUninit::uninit(); 16 * 1024];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        *left = left.saturating_sub(buffer.filled().len());
        Poll::Ready(read.is_ok() && !buffer.filled().is_empty() && *left > 0)
    }
}

/// Locks the state of a connection.
pub(super) fn lock<S: ?Sized>(state: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    state.lock().expect("no panic while the state is locked")
}

const HUNG_UP: &str = "it hung up";
/// How many bytes are read ahead at most. Whether a client that sends more behind a request is still there
/// cannot be found out, so its connection is closed.
const MOST_AHEAD: usize = 64 * 1024;
/// How many bytes are discarded at most after an answer that did not wait for the body.
const MOST_DISCARDED: usize = 32 * 1024 * 1024;
/// How long bytes are discarded at most.
const LINGER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the next bytes to discard may take to arrive.
const LINGER_READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the last answer on a connection may take to be written.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(2);
