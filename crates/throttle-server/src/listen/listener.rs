//! The sockets that a server listens on, and how they are bound.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    net::SocketAddr,
    path::Path,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::spawn_blocking,
};
use tracing::warn;

#[cfg(unix)]
use super::socket_file::SocketFile;
use super::stream::Stream;
use crate::{Address, BoundAddress};

/// The sockets that a server listens on. There is at least one.
#[derive(Debug)]
pub(crate) struct Listeners {
    all: Vec<Listener>,
    /// The one to poll first, so that a busy listener does not starve the others.
    first: usize,
}

/// One socket to listen on.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    /// A socket whose file the service manager made and will remove.
    #[cfg(unix)]
    Unix(UnixListener),
    #[cfg(unix)]
    File(SocketFile),
}

impl Listeners {
    /// Listens on these sockets.
    pub(super) fn new(all: Vec<Listener>) -> io::Result<Self> {
        if all.is_empty() {
            return Err(io::Error::new(ErrorKind::NotFound, "there is no socket"));
        }
        Ok(Self { all, first: 0 })
    }

    /// Listens on all addresses of a host. On port 0 it takes a free port, the same for all.
    ///
    /// If a server listened on only one of two addresses of a name, a second server could take the other, and
    /// both would grant the same locks. So every address must be free, except those that this machine does not
    /// have: no server can listen on them.
    pub(crate) async fn bind(address: &Address) -> io::Result<Self> {
        if let Some(path) = address.file() {
            return Self::new(vec![listen_on_file(path)?]);
        }
        let name = address.clone();
        let addresses =
            spawn_blocking(move || name.resolve()).await.map_err(io::Error::other)??;
        let mut attempts = MOST_ATTEMPTS;
        loop {
            match bind_all(&addresses) {
                // A port that is free at the first address may be taken at the others.
                Err(error) if error.is_worth_another_port && attempts > 1 => attempts -= 1,
                bound => {
                    let all = bound.map_err(|error| error.named(addresses.len() > 1))?;
                    return Self::new(all.into_iter().map(Listener::Tcp).collect());
                }
            }
        }
    }

    /// The addresses they listen on.
    pub(crate) fn addresses(&self) -> io::Result<Vec<BoundAddress>> {
        self.all.iter().map(Listener::address).collect()
    }

    /// The next connection, from whichever listener has one first.
    ///
    /// Cancel-safe: dropping the future loses no connection.
    pub(crate) async fn accept(&mut self) -> io::Result<Stream> {
        poll_fn(|cx| {
            for index in 0..self.all.len() {
                let index = (self.first + index) % self.all.len();
                if let Poll::Ready(accepted) = self.all[index].poll_accept(cx) {
                    self.first = index + 1;
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Listener {
    fn address(&self) -> io::Result<BoundAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(BoundAddress::Network),
            #[cfg(unix)]
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(Path::to_owned);
                Ok(BoundAddress::File(path.unwrap_or_else(|| "(unnamed)".into())))
            }
            #[cfg(unix)]
            Self::File(file) => Ok(BoundAddress::File(file.path().to_owned())),
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match self {
            Self::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, _)| Stream::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, _)| Stream::Unix(stream))
            }
            #[cfg(unix)]
            Self::File(file) => {
                file.listener().poll_accept(cx).map_ok(|(stream, _)| Stream::Unix(stream))
            }
        }
    }
}

#[cfg(unix)]
fn listen_on_file(path: &Path) -> io::Result<Listener> {
    SocketFile::bind(path).map(Listener::File)
}

#[cfg(not(unix))]
fn listen_on_file(_: &Path) -> io::Result<Listener> {
    Err(io::Error::new(ErrorKind::Unsupported, "on this system there are no such sockets"))
}

/// Why one of several addresses cannot be listened on.
#[derive(Debug)]
struct Failure {
    address: SocketAddr,
    error: io::Error,
    /// Whether the port was one that the system picked for another address.
    is_worth_another_port: bool,
}

impl Failure {
    /// The error, which names the address if there are several.
    fn named(self, is_one_of_several: bool) -> io::Error {
        let Self { address, error, .. } = self;
        if is_one_of_several {
            io::Error::new(error.kind(), format!("{address}: {error}"))
        } else {
            error
        }
    }
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::<TcpListener>::new();
    let mut missing = None;
    for &address in addresses {
        let mut wanted = address;
        if let Some(first) = listeners.first()
            && let Ok(first) = first.local_addr()
        {
            wanted.set_port(first.port());
        }
        let is_worth_another_port = address.port() != wanted.port();
        match listen_on(wanted) {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_missing(&error) => {
                missing = Some(Failure { address, error, is_worth_another_port: false });
            }
            Err(error) => return Err(Failure { address: wanted, error, is_worth_another_port }),
        }
    }
    match missing {
        Some(failure) if listeners.is_empty() => Err(failure),
        Some(Failure { address, error, .. }) => {
            warn!(%address, %error, "this machine does not have one of the addresses to listen on");
            Ok(listeners)
        }
        None => Ok(listeners),
    }
}

/// Whether the machine does not have the address, or no addresses of its kind.
fn is_missing(error: &io::Error) -> bool {
    // `EAFNOSUPPORT` has no kind of its own in the standard library.
    #[cfg(unix)]
    let is_family = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    #[cfg(not(unix))]
    let is_family = error.raw_os_error() == Some(WSAEAFNOSUPPORT);
    error.kind() == ErrorKind::AddrNotAvailable || is_family
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Lets a restarted server listen before the connections of its predecessor have timed out. On Windows this
    // would let two servers listen on the same port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG.unsigned_abs())
}

#[cfg(not(unix))]
const WSAEAFNOSUPPORT: i32 = 10_047;
/// How many ports are tried until one is free at all addresses of a name.
const MOST_ATTEMPTS: u32 = 32;
/// How many connections may wait to be accepted. After an outage all workers come back at once, and a client that
/// finds the backlog full waits for a second before it tries again. The limit of Linux itself is as large.
pub(super) const BACKLOG: i32 = 4_096;

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    /// The loopback addresses of both kinds, unless this machine has only one.
    async fn both() -> Option<[SocketAddr; 2]> {
        let both = [SocketAddr::from(([127, 0, 0, 1], 0)), "[::1]:0".parse().unwrap()];
        TcpListener::bind(both[1]).await.ok().map(|_| both)
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_have_the_same_free_port() {
        let Some(both) = both().await else { return };
        let listeners = bind_all(&both).unwrap();
        let [one, other] = [0, 1].map(|index| listeners[index].local_addr().unwrap());
        assert_eq!(one.port(), other.port());
        let listeners = listeners.into_iter().map(Listener::Tcp).collect();
        let mut listeners = Listeners { all: listeners, first: 0 };
        for address in [one, other, one] {
            let _client = TcpStream::connect(address).await.unwrap();
            listeners.accept().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_name_with_an_address_in_use_is_not_listened_on_at_all() {
        let Some(both) = both().await else { return };
        for taken in both {
            let taken = TcpListener::bind(taken).await.unwrap();
            let port = taken.local_addr().unwrap().port();
            let both = both.map(|address| SocketAddr::new(address.ip(), port));
            let failure = bind_all(&both).unwrap_err();
            assert_eq!(failure.address, taken.local_addr().unwrap());
            assert_eq!(failure.error.kind(), ErrorKind::AddrInUse);
            drop(taken);
            bind_all(&both).unwrap();
        }
    }

    #[tokio::test]
    async fn addresses_that_the_machine_does_not_have_are_left_out() {
        // Reserved for documentation, so no machine has it.
        let missing = SocketAddr::from(([192, 0, 2, 1], 0));
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(bind_all(&[missing, here]).unwrap().len(), 1);
        let failure = bind_all(&[missing]).unwrap_err();
        assert_eq!(failure.error.kind(), ErrorKind::AddrNotAvailable);
    }
}
