//! The load generator: one thread, many connections, as little work of its own as can be.
//!
//! A [`Load`] says what each connection sends next. The engine sends, waits for answers with the
//! system's readiness events (epoll and its like, through mio), and tells the load what came back and
//! after how long. Each connection has at most one request under way, as a client has.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::SockRef;

use crate::{
    clock,
    http::{Answer, Request},
};

/// What a server is loaded with.
pub(crate) trait Load {
    /// Writes what `connection` sends next. False: nothing for now.
    fn request(&mut self, connection: usize, request: &mut Request) -> bool;

    /// Takes note of an answer.
    fn answer(&mut self, connection: usize, answer: Answer<'_>, times: Times)
    -> anyhow::Result<()>;

    /// After all answers that had arrived were taken note of: a connection that wants to send now,
    /// though it has just had nothing to send. Called until there is none.
    fn next_ready(&mut self) -> Option<usize> {
        None
    }

    /// Whether [`Load::next_ready`] shall be asked again without waiting for an answer first.
    fn must_poll(&self) -> bool {
        false
    }
}

/// When a request was sent, and when the last byte of its answer had been read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
}

/// Connections to a server.
#[derive(Debug)]
pub(crate) struct Engine {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    request: Request,
    /// How many requests are under way.
    open: usize,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// What has arrived of an answer.
    input: Vec<u8>,
    /// What could not be sent yet, which is rare.
    output: Vec<u8>,
    sent: Option<Instant>,
}

impl Engine {
    /// Connects so many times.
    pub(crate) fn connect(server: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::with_capacity(connections);
        for number in 0..connections {
            let mut stream = std::net::TcpStream::connect(server).context("cannot connect")?;
            // What a system keeps of connections that nobody accepted yet is limited. Who comes when
            // it is full waits for a second.
            if number % ACCEPT_BATCH == ACCEPT_BATCH - 1 {
                await_health(&mut stream)?;
            }
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            // Ten thousand connections that linger on would slow down those of the next server.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            let mut stream = TcpStream::from_std(stream);
            let interests = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(number), interests)?;
            all.push(Connection { stream, input: Vec::new(), output: Vec::new(), sent: None });
        }
        let (events, request) = (Events::with_capacity(1_024), Request::default());
        Ok(Self { poll, events, connections: all, request, open: 0 })
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Sends the first request of each connection, and waits for no answer.
    pub(crate) fn send_first(&mut self, load: &mut impl Load) -> anyhow::Result<()> {
        (0..self.connections.len()).try_for_each(|connection| self.send(connection, load))
    }

    /// Sends what the load has to send, until it has nothing more and everything is answered.
    pub(crate) fn run(&mut self, load: &mut impl Load) -> anyhow::Result<()> {
        self.send_first(load)?;
        while self.open > 0 || load.must_poll() {
            self.poll(load)?;
        }
        Ok(())
    }

    /// Hands on the answers that are there, or that come first, and sends what follows from them.
    fn poll(&mut self, load: &mut impl Load) -> anyhow::Result<()> {
        let patience = if load.must_poll() { Duration::ZERO } else { ANSWER_TIMEOUT };
        let polled = self.poll.poll(&mut self.events, Some(patience));
        match polled {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        ensure!(!self.events.is_empty() || load.must_poll(), "no answer for {ANSWER_TIMEOUT:?}");
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for connection in ready {
            self.connections[connection].flush()?;
            if self.receive(connection, load)? {
                self.send(connection, load)?;
            }
        }
        while let Some(connection) = load.next_ready() {
            self.send(connection, load)?;
        }
        Ok(())
    }

    fn send(&mut self, connection: usize, load: &mut impl Load) -> anyhow::Result<()> {
        if !load.request(connection, &mut self.request) {
            return Ok(());
        }
        let connection = &mut self.connections[connection];
        ensure!(connection.sent.is_none(), "a connection has one request at a time");
        self.open += 1;
        connection.sent = Some(clock::now());
        connection.output.extend_from_slice(self.request.bytes());
        Ok(connection.flush()?)
    }

    /// Reads what is there. True if it completed the answer that was awaited.
    fn receive(&mut self, number: usize, load: &mut impl Load) -> anyhow::Result<bool> {
        let connection = &mut self.connections[number];
        connection.fill()?;
        if connection.input.is_empty() {
            return Ok(false);
        }
        let Some((answer, length)) = Answer::parse(&connection.input)? else { return Ok(false) };
        let sent = connection.sent.take().context("an answer without a request")?;
        ensure!(length == connection.input.len(), "more than an answer");
        self.open -= 1;
        load.answer(number, answer, Times { sent, answered: clock::now() })?;
        connection.input.clear();
        Ok(true)
    }
}

impl Connection {
    fn flush(&mut self) -> std::io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until there is nothing more for now. A read that leaves room in the buffer has emptied
    /// the socket, so it need not be asked again.
    fn fill(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 4_096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => anyhow::bail!("the server hung up"),
                Ok(length) => {
                    self.input.extend_from_slice(&bytes[..length]);
                    if length < bytes.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A request of no consequence. When it is answered, the connection and all before it are accepted.
fn await_health(stream: &mut std::net::TcpStream) -> anyhow::Result<()> {
    let (mut request, mut input, mut bytes) = (Request::default(), Vec::new(), [0; 1_024]);
    request.health();
    stream.write_all(request.bytes())?;
    while Answer::parse(&input)?.is_none() {
        let length = stream.read(&mut bytes)?;
        ensure!(length > 0, "the server hung up");
        input.extend_from_slice(&bytes[..length]);
    }
    Ok(())
}

/// How many may connect before somebody looks whether they were accepted.
const ACCEPT_BATCH: usize = 200;
/// A server that is silent for so long does not answer any more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
