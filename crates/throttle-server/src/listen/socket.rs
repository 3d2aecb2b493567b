//! The socket below HTTP: it hears when a client hangs up, and does not wait for ever for one that
//! does not read.
//!
//! The HTTP library notices the end of a connection by reading, and it does not read while it has
//! anything unread: one byte behind a request would hide from it that the client is gone. So while a
//! request is being handled, [`Watch`] reads ahead. What it reads is kept for the library.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Sleep, sleep},
};

/// What the HTTP library reads from and writes to.
#[derive(Debug)]
pub(super) struct Socket {
    input: Arc<Input>,
    output: OwnedWriteHalf,
    /// How long a write may make no progress.
    patience: Duration,
    impatience: Option<Pin<Box<Sleep>>>,
}

/// Whoever has this hears when the client hangs up.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Input>);

#[derive(Debug)]
struct Input {
    socket: OwnedReadHalf,
    /// What was read ahead.
    ahead: Mutex<Vec<u8>>,
    /// Whether a request is being handled.
    busy: AtomicBool,
}

/// A request that is being handled.
#[derive(Debug)]
pub(super) struct Busy(Arc<Input>);

impl Socket {
    pub(super) fn new(stream: TcpStream, patience: Duration) -> (Self, Watch) {
        let (socket, output) = stream.into_split();
        let input = Arc::new(Input { socket, ahead: Mutex::default(), busy: false.into() });
        let watch = Watch(Arc::clone(&input));
        (Self { input, output, patience, impatience: None }, watch)
    }

    /// Lets a write fail that has made no progress for too long.
    fn impatient<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.impatience = None;
            return progress;
        }
        let patience = self.patience;
        let timer = self.impatience.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl Watch {
    /// A request begins to be handled. It ends when what is returned is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.0.busy.store(true, Ordering::Relaxed);
        Busy(Arc::clone(&self.0))
    }

    /// Returns when the client hangs up while its request is being handled.
    ///
    /// To be polled by the task that polls the connection, after it.
    pub(super) async fn hung_up(&self) {
        poll_fn(|cx| {
            if self.0.busy.load(Ordering::Relaxed) { self.0.read_ahead(cx) } else { Poll::Pending }
        })
        .await;
    }
}

impl Input {
    /// Reads what there is, up to a bound. Ready when there will be no more.
    fn read_ahead(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ahead = self.ahead.lock().expect("nobody panics with it");
        let before = ahead.len();
        let mut bytes = [0; 1024];
        let ended = loop {
            if ahead.len() >= MOST_AHEAD {
                break Poll::Pending;
            }
            match self.read(cx, &mut bytes) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => break Poll::Ready(()),
                Poll::Ready(Ok(length)) => ahead.extend_from_slice(&bytes[..length]),
            }
        };
        if ahead.len() > before {
            // The library may be waiting for it.
            cx.waker().wake_by_ref();
        }
        ended
    }

    /// Reads from the socket.
    fn read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let socket = self.socket.as_ref();
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ahead = self.input.ahead.lock().expect("nobody panics with it");
        if ahead.is_empty() {
            let length = ready!(self.input.read(cx, buffer.initialize_unfilled()))?;
            buffer.advance(length);
        } else {
            let length = ahead.len().min(buffer.remaining());
            buffer.put_slice(&ahead[..length]);
            ahead.drain(..length);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.output).poll_write(cx, bytes);
        self.impatient(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.output).poll_write_vectored(cx, slices);
        self.impatient(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.output.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.output).poll_flush(cx);
        self.impatient(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(cx)
    }
}

/// How much is read ahead at most, in bytes. Whoever sends more behind a request is there to send it.
const MOST_AHEAD: usize = 64 * 1024;
