//! Wakes Python when an operation has ended, by a byte in a pair of connected sockets.
//!
//! Python reads its end in its own way: with a blocking `recv`, which signals interrupt, by the reader of an
//! event loop, or through the sockets of gevent and eventlet. The native end never blocks.

use std::{
    io::{self, Write as _},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use pyo3::prelude::*;

#[cfg(unix)]
type Socket = std::os::unix::net::UnixStream;
#[cfg(not(unix))]
type Socket = std::net::TcpStream;

/// The native end of a pair of sockets.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct Wakeup {
    pub(crate) sender: Arc<WakeupSender>,
}

/// Writes a byte for each operation that has ended, and keeps its token.
pub(crate) struct WakeupSender {
    socket: Socket,
    ended: Mutex<Vec<u64>>,
}

/// A pair of sockets: the native end, and the descriptor of the other end, which the caller owns.
#[pyfunction]
pub(crate) fn wakeup_pair() -> PyResult<(Wakeup, u64)> {
    let (ours, theirs) = pair()?;
    ours.set_nonblocking(true)?;
    let sender = Arc::new(WakeupSender { socket: ours, ended: Mutex::default() });
    Ok((Wakeup { sender }, into_number(theirs)))
}

#[pymethods]
impl Wakeup {
    /// Wakes the reader.
    fn wake(&self) {
        self.sender.wake();
    }

    /// Takes the tokens of the operations that have ended since the last call.
    fn take_ended(&self) -> Vec<u64> {
        mem::take(&mut *self.sender.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WakeupSender {
    /// Adds the token of an operation that has ended, and wakes the reader.
    pub(crate) fn notify_end(&self, token: u64) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(token);
        self.wake();
    }

    /// Wakes the reader.
    pub(crate) fn wake(&self) {
        // A full buffer has bytes that wake the reader anyway. If the other end is closed, nobody waits.
        let _ = (&self.socket).write(&[0]);
    }
}

#[cfg(unix)]
fn pair() -> io::Result<(Socket, Socket)> {
    Socket::pair()
}

/// Two ends of one connection through the loopback interface. A connection from another process is dropped.
#[cfg(not(unix))]
fn pair() -> io::Result<(Socket, Socket)> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let theirs = Socket::connect(listener.local_addr()?)?;
    loop {
        let (ours, peer) = listener.accept()?;
        if peer == theirs.local_addr()? {
            ours.set_nodelay(true)?;
            return Ok((ours, theirs));
        }
    }
}

#[cfg(unix)]
fn into_number(socket: Socket) -> u64 {
    use std::os::fd::IntoRawFd as _;
    u64::try_from(socket.into_raw_fd()).expect("a descriptor is not negative")
}

#[cfg(windows)]
fn into_number(socket: Socket) -> u64 {
    use std::os::windows::io::IntoRawSocket as _;
    socket.into_raw_socket()
}
