//! `--check-health`: asks a server whether it is healthy, for container images that have no shell and no curl.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use throttle_server::Address;

/// Asks the server that listens on this address. One that listens on all addresses is asked on the loopback.
pub(crate) fn check(address: &Address) -> anyhow::Result<()> {
    if let Some(path) = address.file() {
        return ask_file(path).with_context(|| format!("no health at {address}"));
    }
    let addresses = address.resolve().with_context(|| format!("{address} is no address"))?;
    let mut refused = None;
    for address in addresses.into_iter().map(reachable) {
        match ask(address) {
            Ok(()) => return Ok(()),
            Err(error) => refused = Some(error.context(format!("no health at {address}"))),
        }
    }
    Err(refused.with_context(|| format!("{address} has no address"))?)
}

fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let stream = TcpStream::connect_timeout(&address, SOCKET_TIMEOUT)?;
    stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
    stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
    ask_by(stream)
}

#[cfg(unix)]
fn ask_file(path: &Path) -> anyhow::Result<()> {
    let stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
    stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
    ask_by(stream)
}

#[cfg(not(unix))]
fn ask_file(_: &Path) -> anyhow::Result<()> {
    anyhow::bail!("on this system there are no such sockets")
}

fn ask_by(mut stream: impl Read + Write) -> anyhow::Result<()> {
    write!(stream, "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nOk"), "{answer:?}");
    Ok(())
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port())
}

const SOCKET_TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST_ANSWER: u64 = 4096;
