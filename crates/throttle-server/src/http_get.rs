//! Requests of the binary to a server: `--check-health` and `store backup`.
//!
//! They need no HTTP library. What matters is to distinguish a whole answer from one that was cut off.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use throttle_server::Address;

/// A connection to a server.
pub(crate) type Connection = Box<dyn Stream>;

/// What can be written to and read from.
pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Connects to the server that listens on this address and passes the connection to `ask`; if that fails, to the
/// next address of the host. A server that listens on all addresses is asked on the loopback.
///
/// Each read and write on the connection may take as long as `timeout`. An error says that there is no `wanted`.
pub(crate) fn ask<T>(
    (address, timeout): (&Address, Duration),
    wanted: &str,
    mut ask: impl FnMut(Connection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if let Some(file) = address.file() {
        let answer = connect_to_file(file, timeout).and_then(ask);
        return answer.with_context(|| format!("no {wanted} at {address}"));
    }
    let addresses = address.resolve().with_context(|| format!("{address} is no address"))?;
    let mut failure = None;
    for address in addresses.into_iter().map(reachable) {
        match connect(address, timeout).and_then(&mut ask) {
            Ok(answer) => return Ok(answer),
            Err(error) => failure = Some(error.context(format!("no {wanted} at {address}"))),
        }
    }
    Err(failure.with_context(|| format!("{address} has no address"))?)
}

fn connect(address: SocketAddr, timeout: Duration) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(Box::new(stream))
}

#[cfg(unix)]
fn connect_to_file(path: &Path, timeout: Duration) -> anyhow::Result<Connection> {
    let stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(Box::new(stream))
}

#[cfg(not(unix))]
fn connect_to_file(_: &Path, _: Duration) -> anyhow::Result<Connection> {
    anyhow::bail!("on this system there are no such sockets")
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port())
}

/// An answer whose head has been read.
pub(crate) struct Answer<S> {
    pub(crate) status: u16,
    /// Reading it fails if the answer was cut off.
    pub(crate) body: Body<S>,
}

/// Requests a path of the server at the other end.
pub(crate) fn get<S: Read + Write>(mut stream: S, path: &str) -> io::Result<Answer<S>> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut stream = BufReader::new(stream);
    let mut head = stream.by_ref().take(LONGEST_HEAD);
    let mut status_line = String::new();
    head.read_line(&mut status_line)?;
    let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| invalid("this is not an answer of HTTP/1.1"))?;
    let mut left = None;
    loop {
        let mut line = String::new();
        head.read_line(&mut line)?;
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(invalid("the head of the answer is incomplete or too long"));
        };
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.trim().parse();
            left = Some(Left::Bytes(length.map_err(|_| invalid("the answer has no length"))?));
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            left = Some(Left::Chunk(0));
        }
    }
    let left = left.ok_or_else(|| invalid("the answer has no length"))?;
    Ok(Answer { status, body: Body { stream, left } })
}

/// The body of an answer.
pub(crate) struct Body<S> {
    stream: BufReader<S>,
    left: Left,
}

/// How much of a body is still to be read.
#[derive(Clone, Copy)]
enum Left {
    /// So many bytes.
    Bytes(u64),
    /// So many bytes of a chunk, and then further chunks.
    Chunk(u64),
}

impl<S: Read> Body<S> {
    /// Reads the length of the next chunk. The last one has none.
    fn next_chunk(&mut self) -> io::Result<Left> {
        let mut line = String::new();
        self.stream.by_ref().take(LONGEST_CHUNK_HEAD).read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(cut_off());
        }
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = u64::from_str_radix(digits, 16);
        Ok(match length.map_err(|_| invalid("the answer has a chunk without length"))? {
            0 => Left::Bytes(0),
            length => Left::Chunk(length),
        })
    }
}

impl<S: Read> Read for Body<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if matches!(self.left, Left::Chunk(0)) {
            self.left = self.next_chunk()?;
        }
        let (Left::Bytes(left) | Left::Chunk(left)) = &mut self.left;
        if *left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.stream.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(cut_off());
        }
        *left -= read as u64;
        if matches!(self.left, Left::Chunk(0)) {
            let mut end = [0; 2];
            self.stream.read_exact(&mut end).map_err(|_| cut_off())?;
        }
        Ok(read)
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

fn cut_off() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the answer was cut off")
}

const LONGEST_HEAD: u64 = 64 * 1024;
const LONGEST_CHUNK_HEAD: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that has this answer.
    struct Server(io::Cursor<Vec<u8>>);

    impl Read for Server {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Server {
        fn write(&mut self, request: &[u8]) -> io::Result<usize> {
            Ok(request.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn body(answer: &str) -> io::Result<(u16, String)> {
        let mut answer = get(Server(io::Cursor::new(answer.into())), "/")?;
        let mut body = String::new();
        answer.body.read_to_string(&mut body)?;
        Ok((answer.status, body))
    }

    #[test]
    fn a_body_has_a_length_or_chunks() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more";
        assert_eq!(body(text).unwrap(), (200, "hello".to_owned()));
        let text = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(body(text).unwrap(), (404, String::new()));
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\nhel\r\nA;it=1\r\nlo, world!\r\n0\r\n\r\n";
        assert_eq!(body(text).unwrap(), (200, "hello, world!".to_owned()));
    }

    /// Otherwise half a backup would look like a whole one.
    #[test]
    fn an_answer_that_was_cut_off_is_an_error_wherever_that_happened() {
        for whole in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n",
        ] {
            assert_eq!(body(whole).unwrap().1, "hello");
            for end in 0..whole.len() - 1 {
                assert!(body(&whole[..end]).is_err(), "{:?}", &whole[..end]);
            }
        }
        assert!(body("SSH-2.0-OpenSSH_9.2\r\n").is_err());
        assert!(body("HTTP/1.1 200 OK\r\n\r\nuntil the end").is_err());
    }
}
