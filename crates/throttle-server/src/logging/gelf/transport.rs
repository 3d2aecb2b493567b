//! Sending messages to Graylog, over UDP or TCP.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};

use super::chunk::Chunker;
use crate::config::{Gelf, Protocol};

/// The link to a Graylog server, which is opened when there is a message to send.
#[derive(Debug)]
pub(super) struct Transport {
    host: String,
    port: u16,
    protocol: Protocol,
    chunker: Chunker,
    link: Option<Link>,
}

#[derive(Debug)]
enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Transport {
    pub(super) fn new(config: &Gelf) -> Self {
        Self {
            host: config.host.clone(),
            port: u16::try_from(config.port.get()).expect("ports have 16 bits"),
            protocol: config.protocol,
            chunker: Chunker::default(),
            link: None,
        }
    }

    /// Sends a message, over a new link if the current one is broken.
    pub(super) fn send(&mut self, message: &str) -> io::Result<()> {
        if let Some(link) = &mut self.link
            && link.is_alive()
            && link.send(message, &mut self.chunker).is_ok()
        {
            return Ok(());
        }
        let link = self.open()?;
        self.link.insert(link).send(message, &mut self.chunker)
    }

    /// Opens a link to the first address of the host that accepts it.
    fn open(&self) -> io::Result<Link> {
        let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match Link::open(self.protocol, address) {
                Ok(link) => return Ok(link),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// As in `udp://graylog:12201`.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        write!(f, "{protocol}://{}:{}", self.host, self.port)
    }
}

impl Link {
    fn open(protocol: Protocol, address: SocketAddr) -> io::Result<Self> {
        match protocol {
            Protocol::Udp => {
                let from: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(from)?;
                socket.connect(address)?;
                Ok(Self::Udp(socket))
            }
            Protocol::Tcp => {
                let stream = TcpStream::connect_timeout(&address, SOCKET_TIMEOUT)?;
                stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// Whether the server still listens, as far as that can be found out without sending.
    fn is_alive(&self) -> bool {
        match self {
            Self::Udp(_) => true,
            Self::Tcp(stream) => has_not_ended(stream).unwrap_or(false),
        }
    }

    fn send(&mut self, message: &str, chunker: &mut Chunker) -> io::Result<()> {
        match self {
            Self::Udp(socket) => {
                for datagram in chunker.datagrams(message) {
                    socket.send(&datagram)?;
                }
                Ok(())
            }
            // JSON contains no zero byte.
            Self::Tcp(stream) => stream.write_all(&[message.as_bytes(), b"\0"].concat()),
        }
    }
}

/// Graylog never sends anything, so only the end of the connection makes a stream readable.
fn has_not_ended(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let nothing_to_read = match stream.peek(&mut [0]) {
        Err(error) => error.kind() == ErrorKind::WouldBlock,
        Ok(read) => read > 0,
    };
    stream.set_nonblocking(false)?;
    Ok(nothing_to_read)
}

const SOCKET_TIMEOUT: Duration = Duration::from_secs(5);
