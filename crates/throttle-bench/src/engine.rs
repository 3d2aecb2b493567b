//! The load generator: one thread and many connections, with as little work of its own as possible.
//!
//! A [`Load`] chooses the next request of each connection. The engine sends it, waits for answers with
//! readiness events (epoll and the like, through mio), and passes each answer with its times to the load. A
//! connection has at most one request in flight.

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

/// Chooses requests and receives their answers.
pub(crate) trait Load {
    /// Writes the next request of `connection`. Returns false if there is none for now.
    fn request(&mut self, connection: usize, request: &mut Request) -> bool;

    /// Receives an answer.
    fn answer(&mut self, connection: usize, answer: Answer<'_>, times: Times)
    -> anyhow::Result<()>;

    /// A connection that had no request before and has one now. Called after all available answers were
    /// received, until it returns `None`.
    fn next_ready(&mut self) -> Option<usize> {
        None
    }

    /// Whether to call [`Load::next_ready`] again without waiting for an answer.
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
    /// How many requests are in flight.
    open: usize,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// The received part of an answer.
    input: Vec<u8>,
    /// Bytes that could not be sent yet. Rarely any.
    output: Vec<u8>,
    sent: Option<Instant>,
}

impl Engine {
    /// Opens this number of connections.
    pub(crate) fn connect(server: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::with_capacity(connections);
        for number in 0..connections {
            let mut stream = std::net::TcpStream::connect(server).context("cannot connect")?;
            // The system's queue of connections to accept is limited. If it is full, a connection waits for a
            // second.
            if number % ACCEPT_BATCH == ACCEPT_BATCH - 1 {
                await_health(&mut stream)?;
            }
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            // Thousands of connections in TIME_WAIT would slow down the next server.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            let mut stream = TcpStream::from_std(stream);
            let interests = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(number), interests)?;
            all.push(Connection { stream, input: Vec::new(), output: Vec::new(), sent: None });
        }
        let (events, request) = (Events::with_capacity(1_024), Request::default());
        Ok(Self { poll, events, connections: all, request, open: 0 })
    }

    /// The number of connections.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Sends the first request of each connection. Does not wait for answers.
    pub(crate) fn send_first(&mut self, load: &mut impl Load) -> anyhow::Result<()> {
        (0..self.connections.len()).try_for_each(|connection| self.send(connection, load))
    }

    /// Runs a load until it has no more requests and all are answered.
    pub(crate) fn run(&mut self, load: &mut impl Load) -> anyhow::Result<()> {
        self.send_first(load)?;
        while self.open > 0 || load.must_poll() {
            self.poll(load)?;
        }
        Ok(())
    }

    /// Waits for answers, passes them to the load, and sends the requests that follow.
    fn poll(&mut self, load: &mut impl Load) -> anyhow::Result<()> {
        let timeout = if load.must_poll() { Duration::ZERO } else { ANSWER_TIMEOUT };
        let polled = self.poll.poll(&mut self.events, Some(timeout));
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

    /// Reads the available bytes. Returns whether they completed the answer.
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

    /// Reads all available bytes. A read that does not fill the buffer has emptied the socket, so no other
    /// one is needed.
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

/// Sends `GET /health` and waits for the answer. Then the server has accepted this connection and all before
/// it.
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

/// How many connections are opened before checking that the server has accepted them.
const ACCEPT_BATCH: usize = 200;
/// Without any answer for this long, the run fails.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
