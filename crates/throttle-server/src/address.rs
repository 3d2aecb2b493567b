//! Where a server listens, as it is written on command lines: once for the server and for whoever asks
//! after its health.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs as _},
};

/// A name or an address with a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// Without brackets.
    host: String,
    port: u16,
}

impl Address {
    /// The address `host`, an IPv4 or IPv6 address or a name that has such addresses. It may stand in
    /// brackets, as it does in URLs.
    pub fn new(host: &str, port: u16) -> Self {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Self { host: inner.unwrap_or(host).to_owned(), port }
    }

    /// All addresses of the name, each once. Waits for the resolver of the system.
    ///
    /// # Errors
    ///
    /// If it cannot be looked up, or has none.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        for address in (&*self.host, self.port).to_socket_addrs()? {
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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
