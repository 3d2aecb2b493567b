//! What all clients of a run share: the history that they record, and whether the server runs.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    checker::{Checker, RequestNumber},
    event::{Answer, Request},
};
use crate::{
    claims::{Moment, Rule},
    clock,
};

/// Records the history of a run in the order in which things happen.
#[derive(Debug)]
pub(super) struct Recorder {
    start: Instant,
    state: Mutex<State>,
    server: watch::Sender<ServerState>,
}

#[derive(Debug)]
struct State {
    checker: Checker,
    recent: VecDeque<String>,
}

/// Whether the server runs, and what the clients shall do.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerState {
    pub(super) address: SocketAddr,
    /// The number of the latest process.
    pub(super) process: usize,
    pub(super) is_ready: bool,
    /// The clients shall come to an end.
    pub(super) is_last: bool,
}

impl Recorder {
    pub(super) fn new(checker: Checker, address: SocketAddr) -> Self {
        let server = ServerState { address, process: 0, is_ready: false, is_last: false };
        Self {
            start: clock::now(),
            state: Mutex::new(State { checker, recent: VecDeque::new() }),
            server: watch::channel(server).0,
        }
    }

    pub(super) fn server(&self) -> ServerState {
        *self.server.borrow()
    }

    pub(super) fn change_server(&self, change: impl FnOnce(&mut ServerState)) {
        self.server.send_modify(change);
    }

    /// Tells when the state of the server changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<ServerState> {
        self.server.subscribe()
    }

    /// Waits until the server is ready.
    pub(super) async fn ready(&self) -> ServerState {
        let mut server = self.subscribe();
        let ready = server.wait_for(|server| server.is_ready).await;
        *ready.expect("the recorder has the sender")
    }

    /// The present moment.
    pub(super) fn now(&self) -> Moment {
        self.moment(clock::now())
    }

    pub(super) fn moment(&self, at: Instant) -> Moment {
        Moment::default().after(at.saturating_duration_since(self.start))
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn sent(&self, request: Request) -> RequestNumber {
        let mut state = self.lock();
        let at = self.now();
        state.remember(|| format!("{at} send {request:?}"));
        state.checker.sent(at, request)
    }

    pub(super) fn answered(&self, number: RequestNumber, answer: &Answer) {
        let mut state = self.lock();
        let at = self.now();
        state.remember(|| format!("{at} {number:?} {answer:?}"));
        state.checker.answered(at, number, answer);
    }

    pub(super) fn unanswered(&self, number: RequestNumber) {
        let mut state = self.lock();
        let at = self.now();
        state.remember(|| format!("{at} {number:?} without an answer"));
        state.checker.unanswered(at, number);
    }

    /// The process has ended.
    pub(super) fn killed(&self, was_ready: bool) {
        let mut state = self.lock();
        let at = self.now();
        state.remember(|| format!("{at} killed"));
        state.checker.killed(at, was_ready);
    }

    /// A process is about to be started.
    pub(super) fn started(&self) {
        let mut state = self.lock();
        let at = self.now();
        state.remember(|| format!("{at} started"));
        state.checker.started(at);
    }

    pub(super) fn violate(&self, rule: Rule, message: impl Into<String>) {
        self.lock().checker.violate(rule, message);
    }

    /// Passes the checker to `with`.
    pub(super) fn checker<R>(&self, with: impl FnOnce(&mut Checker) -> R) -> R {
        with(&mut self.lock().checker)
    }

    /// The latest events, one in each line.
    pub(super) fn recent(&self) -> String {
        self.lock().recent.iter().map(|line| format!("{line}\n")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the mutex")
    }
}

impl State {
    fn remember(&mut self, line: impl FnOnce() -> String) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(line());
    }
}

/// How many events are kept for the report of a violation.
const RECENT: usize = 20_000;
