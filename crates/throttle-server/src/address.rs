//! Where a server listens, as it is written on command lines: once for the server and for whoever asks
//! after its health.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
};

/// A name or an address with a port, or the file of a socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address(Kind);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    /// The host has no brackets.
    Network {
        host: String,
        port: u16,
    },
    File(PathBuf),
}

/// What a server listens on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BoundAddress {
    /// An address of this machine with a port.
    Network(SocketAddr),
    /// The file of a socket.
    File(PathBuf),
}

impl Address {
    /// The address `host`: an IPv4 or IPv6 address or a name that has such addresses. It may stand in
    /// brackets, as it does in URLs. With `unix:` in front it is the file of a socket instead, and has no port.
    pub fn new(host: &str, port: u16) -> Self {
        if let Some(path) = host.strip_prefix(UNIX) {
            return Self(Kind::File(path.into()));
        }
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Self(Kind::Network { host: inner.unwrap_or(host).to_owned(), port })
    }

    /// The file of the socket, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Kind::File(path) => Some(path),
            Kind::Network { .. } => None,
        }
    }

    /// All addresses of the name, each once; none for a file. Waits for the resolver of the system.
    ///
    /// # Errors
    ///
    /// If it cannot be looked up, or has none.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        let Kind::Network { host, port } = &self.0 else { return Ok(addresses) };
        for address in (&**host, *port).to_socket_addrs()? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
        }
        Ok(addresses)
    }
}

impl BoundAddress {
    /// The URL by which clients on this machine reach the server, if it is an address of this machine.
    pub fn url(&self) -> String {
        match self {
            Self::Network(address) => format!("http://{address}"),
            Self::File(_) => self.to_string(),
        }
    }

    /// The address and port, unless it is a file.
    pub const fn network(&self) -> Option<SocketAddr> {
        match self {
            Self::Network(address) => Some(*address),
            Self::File(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Network { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Kind::Network { host, port } => write!(f, "{host}:{port}"),
            Kind::File(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::File(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

const UNIX: &str = "unix:";
