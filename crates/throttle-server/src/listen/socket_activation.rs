//! Socket activation: sockets that the service manager opened before it started this process.

use std::{fmt, io};

#[cfg(unix)]
use socket2::SockRef;

#[cfg(unix)]
use super::listener::BACKLOG;
use super::{Listeners, listener::Listener};

/// Sockets to listen on that this process was started with.
pub struct InheritedSockets {
    #[cfg(unix)]
    sockets: listenfd::ListenFd,
}

impl InheritedSockets {
    /// The sockets that the environment (`LISTEN_FDS`, `LISTEN_PID`) announces. `None` if there are none, or if
    /// they are meant for another process.
    ///
    /// Removes these variables from the environment, so call it before there are other threads.
    pub fn take() -> Option<Self> {
        #[cfg(unix)]
        {
            let sockets = listenfd::ListenFd::from_env();
            (sockets.len() > 0).then_some(Self { sockets })
        }
        #[cfg(not(unix))]
        None
    }

    /// Listens on them.
    pub(crate) fn listen(self) -> io::Result<Listeners> {
        Listeners::new(self.into_listeners()?)
    }

    #[cfg(unix)]
    fn into_listeners(mut self) -> io::Result<Vec<Listener>> {
        (0..self.sockets.len()).map(|index| self.listener(index)).collect()
    }

    /// The service manager has called `listen` already. A second call sets the backlog, and fails on a connected
    /// socket, which cannot accept connections.
    #[cfg(unix)]
    fn listener(&mut self, index: usize) -> io::Result<Listener> {
        let gone = || io::Error::other("it was taken before");
        if let Ok(listener) = self.sockets.take_unix_listener(index) {
            let listener = listener.ok_or_else(gone)?;
            SockRef::from(&listener).listen(BACKLOG)?;
            listener.set_nonblocking(true)?;
            return Ok(Listener::Unix(tokio::net::UnixListener::from_std(listener)?));
        }
        let listener = self.sockets.take_tcp_listener(index)?.ok_or_else(gone)?;
        SockRef::from(&listener).listen(BACKLOG)?;
        listener.set_nonblocking(true)?;
        Ok(Listener::Tcp(tokio::net::TcpListener::from_std(listener)?))
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "it can fail on Unix")]
    fn into_listeners(self) -> io::Result<Vec<Listener>> {
        Ok(Vec::new())
    }
}

impl fmt::Debug for InheritedSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InheritedSockets").finish_non_exhaustive()
    }
}
