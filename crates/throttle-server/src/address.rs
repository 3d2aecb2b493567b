//! Addresses as they are written on the command line, for the server and for `--check-health`.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
};

/// A host and a port, or the file of a socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address(Kind);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    /// The host is without brackets.
    Network {
        host: String,
        port: u16,
    },
    File(PathBuf),
}

/// An address that a server listens on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BoundAddress {
    /// An address of this machine with a port.
    Network(SocketAddr),
    /// The file of a socket.
    File(PathBuf),
}

impl Address {
    /// The address of `host`: an IPv4 or IPv6 address, also in brackets as in URLs, or a name. After the prefix
    /// `unix:` it is the file of a socket, and the port is ignored.
    pub fn new(host: &str, port: u16) -> Self {
        if let Some(path) = host.strip_prefix(UNIX) {
            return Self(Kind::File(path.into()));
        }
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Self(Kind::Network { host: inner.unwrap_or(host).to_owned(), port })
    }

    /// The file, if the address is that of a socket.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Kind::File(path) => Some(path),
            Kind::Network { .. } => None,
        }
    }

    /// All addresses of the host, each once; none for a file. Blocks on the resolver of the system.
    ///
    /// # Errors
    ///
    /// If the host cannot be resolved, or has no address.
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
    /// The URL by which clients reach the server; for a file, `unix:` and its path.
    pub fn url(&self) -> String {
        match self {
            Self::Network(address) => format!("http://{address}"),
            Self::File(_) => self.to_string(),
        }
    }

    /// The address and port, unless this is a file.
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
