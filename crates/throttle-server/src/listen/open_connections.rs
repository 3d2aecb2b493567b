//! The open connections: how many there may be, and how room is made for a new one.
//!
//! Holders come first: a new connection may bring the heartbeat of a peer that holds locks, and the server does
//! not know before it has read the request. So a connection beyond the limit is not refused. Instead the
//! connection that has been idle for longest is closed. If none is idle, one is closed whose client does not read
//! its answer. Both are safe for a grace period. If there is no such connection, a short wait is ended, and the
//! new connection uses the slack, a number of connections beyond the limit; meanwhile each answer announces
//! `connection: close`.
//!
//! A connection is *idle* while the server has no complete request from it: between two requests, before the
//! first one, while a head or a body is incomplete, and while the rest of a refused body is discarded. It is
//! *busy* from then on until its answer was written, and *stalled* while its client does not read the answer.
//! A new client may need time to send its first request, so its grace period is longer, until the slack is used
//! up as well.
//!
//! Invariant: no request is handled on a connection that was chosen to be closed. [`Slot::begin`] and the choice
//! change the same atomic word, and the first of them wins.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use metrics::{Counter, Gauge};
use slab::Slab;
use throttle_runtime::{Clock, Time};
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    ConnectionLimits,
    capacity::Capacity,
    connection_phase::{AtomicPhase, Phase},
    eviction_order::{Candidate, EvictionOrder, GracePeriods},
    shortage_log::ShortageLog,
};

/// The metrics of connections.
#[derive(Clone)]
pub(crate) struct ConnectionMetrics {
    /// Open connections.
    pub(crate) open: Gauge,
    /// Connections that were closed in favour of others.
    pub(crate) evicted: Counter,
    /// Connections that were answered 503.
    pub(crate) refused: Counter,
}

/// The open connections of a server. Clones refer to the same connections.
#[derive(Clone)]
pub(super) struct OpenConnections(Arc<Inner>);

struct Inner {
    limits: ConnectionLimits,
    clock: Clock,
    metrics: ConnectionMetrics,
    /// Never locked across an await, and by no request while there is room.
    state: Mutex<State>,
    /// Whether there are too many connections, counting a new one that waits for room.
    is_short: AtomicBool,
    /// Notified when a connection becomes idle while there is no room.
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: Slab<Connection>,
    eviction: EvictionOrder,
    /// How many connections there have been so far.
    accepted: u64,
    log: ShortageLog,
}

struct Connection {
    /// Distinguishes it from a later connection with the same key.
    number: u64,
    /// `None` until the task was started.
    task: Option<AbortHandle>,
    phase: Arc<AtomicPhase>,
}

/// An open connection, for its task. Dropping it makes room for another one.
pub(super) struct Slot {
    connections: OpenConnections,
    key: usize,
    number: u64,
    phase: Arc<AtomicPhase>,
}

impl OpenConnections {
    pub(super) fn new(limits: ConnectionLimits, clock: Clock, metrics: ConnectionMetrics) -> Self {
        metrics.open.set(0.0);
        let (state, is_short, changed) = (Mutex::default(), AtomicBool::new(false), Notify::new());
        Self(Arc::new(Inner { limits, clock, metrics, state, is_short, changed }))
    }

    /// Enters a connection as idle; `spawn` starts the task that serves it.
    pub(super) fn enter(&self, spawn: impl FnOnce(Slot) -> AbortHandle) {
        let slot = {
            let mut state = self.lock();
            state.accepted += 1;
            let number = state.accepted;
            let phase = Arc::new(AtomicPhase::new(Phase::AwaitingRequest(self.0.clock.now())));
            let connection = Connection { number, task: None, phase: Arc::clone(&phase) };
            let key = state.open.insert(connection);
            self.count(&state);
            Slot { connections: self.clone(), key, number, phase }
        };
        let (key, number) = (slot.key, slot.number);
        let task = spawn(slot);
        match self.lock().find(key, number) {
            Some(connection) => connection.task = Some(task),
            // The connection has ended already, or it was chosen to be closed.
            None => task.abort(),
        }
    }

    /// Makes room for one more connection if there is none, and returns whether there is room then.
    ///
    /// If no connection can be closed, `end_short_wait` is called, and the new connection may use the slack. When
    /// that is used up, a client that may be about to send its first request is closed only if there was no wait
    /// to end.
    pub(super) fn make_room(&self, end_short_wait: impl FnOnce() -> bool) -> bool {
        let Capacity { connections, slack } = self.0.limits.capacity;
        let mut state = self.lock();
        // There may be several too many.
        while state.open.len() >= connections && self.evict_one(&mut state, self.0.limits.grace) {}
        if state.open.len() < connections {
            return true;
        }
        self.0.is_short.store(true, Ordering::Relaxed);
        drop(state);
        let is_ended = end_short_wait();
        let mut state = self.lock();
        state.open.len() < connections + slack
            || (!is_ended && self.evict_one(&mut state, self.short_grace()))
    }

    /// Closes the connection that is first in the eviction order. Returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        self.evict_one(&mut self.lock(), self.short_grace())
    }

    /// Resolves when a connection has become idle, while there was no room, since the last call.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Notes that a connection is answered 503.
    pub(super) fn refuse(&self) {
        self.0.metrics.refused.increment(1);
        let mut state = self.lock();
        let open = state.open.len();
        state.log.refused(self.0.clock.now(), open, self.0.limits.capacity.connections);
    }

    /// Notes that the operating system could not hand over a connection.
    pub(super) fn not_accepted(&self, error: &io::Error) {
        self.lock().log.not_accepted(self.0.clock.now(), error);
    }

    fn evict_one(&self, state: &mut State, grace: GracePeriods) -> bool {
        let now = self.0.clock.now();
        while let Some(Candidate { key, phase, .. }) = state.next_to_evict(now, grace) {
            if state.open[key].phase.close(phase) {
                let open = state.open.len();
                if let Some(task) = state.open.remove(key).task {
                    task.abort();
                }
                self.count(state);
                self.0.metrics.evicted.increment(1);
                state.log.evicted(now, open, self.0.limits.capacity.connections);
                return true;
            }
        }
        false
    }

    /// The grace periods when the slack is used up: a client has no more time for its first request than for later
    /// ones.
    fn short_grace(&self) -> GracePeriods {
        let grace = self.0.limits.grace;
        GracePeriods { awaiting_request: grace.idle, ..grace }
    }

    /// Publishes the number of connections after it has changed.
    fn count(&self, state: &State) {
        let open = state.open.len();
        self.0.metrics.open.set(open as f64);
        self.0.is_short.store(open > self.0.limits.capacity.connections, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic while the state is locked")
    }
}

impl State {
    fn find(&mut self, key: usize, number: u64) -> Option<&mut Connection> {
        let connection = self.open.get_mut(key);
        connection.filter(|connection| connection.number == number)
    }

    fn next_to_evict(&mut self, now: Time, grace: GracePeriods) -> Option<Candidate> {
        let Self { open, eviction, .. } = self;
        let candidate = |key, &Connection { number, ref phase, .. }: &Connection| Candidate {
            key,
            number,
            phase: phase.get(),
        };
        let is_current = |seen: Candidate| {
            open.get(seen.key).is_some_and(|now| candidate(seen.key, now) == seen)
        };
        eviction.next(now, grace, is_current, || {
            open.iter().map(|(key, connection)| candidate(key, connection))
        })
    }
}

impl Slot {
    /// The clock of all instants here.
    pub(super) fn clock(&self) -> Clock {
        self.connections.0.clock
    }

    /// Notes that a complete request has arrived. Returns false if the connection is being closed: then the
    /// request must not be handled.
    #[must_use]
    pub(super) fn begin(&self) -> bool {
        self.phase.set(Phase::Busy)
    }

    /// Notes that the server waits for the rest of a request.
    pub(super) fn wait_for_request(&self) {
        // If the connection is being closed, the request ends with its task.
        self.phase.set(Phase::AwaitingRequest(self.clock().now()));
    }

    /// Notes that a request was answered at this instant.
    pub(super) fn become_idle(&self, since: Time) {
        self.phase.set(Phase::Idle(since));
        if self.is_surplus() {
            self.connections.0.changed.notify_one();
        }
    }

    /// Notes that the client does not read its answer.
    pub(super) fn stall(&self) {
        self.phase.set(Phase::Stalled(self.clock().now()));
    }

    /// Whether the connection should end with the next answer, because there are too many.
    pub(super) fn is_surplus(&self) -> bool {
        self.connections.0.is_short.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        if state.find(self.key, self.number).is_some() {
            state.open.remove(self.key);
            self.connections.count(&state);
        }
    }
}
