//! Which connections are open, which of them nobody needs, and who has to leave when sockets run short.
//!
//! Holders come first: a newcomer may be the heartbeat of a peer that holds locks, and nobody knows
//! before its request is read. So a newcomer beyond the limit is not turned away. Instead the connection
//! that has been idle for longest is closed. If none is idle, one whose client does not read its answer
//! goes. Either must have lasted for a moment. If there is none of these, a short wait is told to end, and
//! the newcomer takes a place of the slack, which is some places beyond the limit; answers tell
//! their clients meanwhile that the connection is closed behind them.
//!
//! A connection is *idle* while the server has no complete request of it: between two, before the first
//! one, while a head or a body is incomplete, and while the rest of a refused body is read. It is *busy*
//! from then on until its answer was written, and *stalled* while its client does not take the answer.
//! A client that was accepted may need time to send its first request, so it is left in peace for longer
//! than others that are idle, until the slack is used up as well.
//!
//! Invariant: no request is handled on a connection that was chosen to be closed. [`Slot::begin`] and
//! the choice change the same word in memory, and the first of them wins.

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
    Limits,
    connection_phase::{AtomicPhase, Phase},
    eviction_order::{Candidate, EvictionOrder, GracePeriods},
    shortage_log::ShortageLog,
};

/// How many connections there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Capacity {
    /// The most that stay open.
    pub(crate) connections: usize,
    /// How many more there may be for a moment: newcomers that nobody could be closed for at once.
    pub(crate) slack: usize,
}

/// What is counted about connections.
#[derive(Clone)]
pub(crate) struct ConnectionMetrics {
    /// Those that are open.
    pub(crate) open: Gauge,
    /// Those that were closed in favour of others.
    pub(crate) evicted: Counter,
    /// Those that were answered 503.
    pub(crate) refused: Counter,
}

/// The open connections of a server. Clones share it.
#[derive(Clone)]
pub(super) struct OpenConnections(Arc<Shared>);

struct Shared {
    limits: Limits,
    clock: Clock,
    metrics: ConnectionMetrics,
    /// Never held across an await. No request locks it while there is room.
    state: Mutex<State>,
    /// Whether there are more connections than there may be, counting a newcomer that has no room yet.
    is_short: AtomicBool,
    /// Somebody became idle while there was no room.
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: Slab<Connection>,
    candidates: EvictionOrder,
    /// How many there were so far.
    accepted: u64,
    shortage: ShortageLog,
}

struct Connection {
    /// Tells it from a later connection in the same place.
    number: u64,
    /// `None` until the task was started.
    task: Option<AbortHandle>,
    phase: Arc<AtomicPhase>,
}

/// The place of one connection. Dropped, it is free.
pub(super) struct Slot {
    registry: OpenConnections,
    key: usize,
    number: u64,
    phase: Arc<AtomicPhase>,
}

impl OpenConnections {
    pub(super) fn new(limits: Limits, clock: Clock, metrics: ConnectionMetrics) -> Self {
        metrics.open.set(0.0);
        let (state, is_short, changed) = (Mutex::default(), AtomicBool::new(false), Notify::new());
        Self(Arc::new(Shared { limits, clock, metrics, state, is_short, changed }))
    }

    /// Enters a connection as idle; `spawn` starts the task that serves it.
    pub(super) fn enter(&self, spawn: impl FnOnce(Slot) -> AbortHandle) {
        let slot = {
            let mut state = self.lock();
            state.accepted += 1;
            let number = state.accepted;
            let phase = Arc::new(AtomicPhase::new(Phase::Awaited(self.0.clock.now())));
            let connection = Connection { number, task: None, phase: Arc::clone(&phase) };
            let key = state.open.insert(connection);
            self.count(&state);
            Slot { registry: self.clone(), key, number, phase }
        };
        let (key, number) = (slot.key, slot.number);
        let task = spawn(slot);
        match self.lock().find(key, number) {
            Some(connection) => connection.task = Some(task),
            // It has ended already, or it was chosen to end.
            None => task.abort(),
        }
    }

    /// Whether there is room for one more connection, if need be by closing one that nobody needs.
    ///
    /// If there is none to close, `end_short_wait` is called, and the newcomer may use the slack. When that
    /// is used up, a client that may still be about to send its request is closed only if there was no
    /// wait to end.
    pub(super) fn make_room(&self, end_short_wait: impl FnOnce() -> bool) -> bool {
        let Capacity { connections, slack } = self.0.limits.capacity;
        let mut state = self.lock();
        // There may be more than one too many.
        while state.open.len() >= connections && self.evict_one(&mut state, self.peace()) {}
        if state.open.len() < connections {
            return true;
        }
        self.0.is_short.store(true, Ordering::Relaxed);
        drop(state);
        let is_ended = end_short_wait();
        let mut state = self.lock();
        state.open.len() < connections + slack
            || (!is_ended && self.evict_one(&mut state, self.short_peace()))
    }

    /// Closes the connection that nobody needs for longest. Returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        self.evict_one(&mut self.lock(), self.short_peace())
    }

    /// Returns when a connection became idle while there was no room, since the last call.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Takes note of a connection that is answered 503.
    pub(super) fn refuse(&self) {
        self.0.metrics.refused.increment(1);
        let mut state = self.lock();
        let open = state.open.len();
        state.shortage.refused(self.0.clock.now(), open, self.0.limits.capacity.connections);
    }

    /// Takes note that the operating system could not hand over a connection.
    pub(super) fn not_accepted(&self, error: &io::Error) {
        self.lock().shortage.not_accepted(self.0.clock.now(), error);
    }

    fn evict_one(&self, state: &mut State, peace: GracePeriods) -> bool {
        let now = self.0.clock.now();
        while let Some(Candidate { key, phase, .. }) = state.next_to_leave(now, peace) {
            if state.open[key].phase.close(phase) {
                let open = state.open.len();
                if let Some(task) = state.open.remove(key).task {
                    task.abort();
                }
                self.count(state);
                self.0.metrics.evicted.increment(1);
                state.shortage.evicted(now, open, self.0.limits.capacity.connections);
                return true;
            }
        }
        false
    }

    /// For how long connections are left in peace while there is slack.
    fn peace(&self) -> GracePeriods {
        let Limits { idle, silence, stall, .. } = self.0.limits;
        GracePeriods { idle, awaited: silence, stalled: stall }
    }

    /// For how long when there is none.
    fn short_peace(&self) -> GracePeriods {
        GracePeriods { awaited: self.0.limits.idle, ..self.peace() }
    }

    /// To be called when the number of connections has changed.
    fn count(&self, state: &State) {
        let open = state.open.len();
        self.0.metrics.open.set(open as f64);
        self.0.is_short.store(open > self.0.limits.capacity.connections, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics with it")
    }
}

impl State {
    fn find(&mut self, key: usize, number: u64) -> Option<&mut Connection> {
        let connection = self.open.get_mut(key);
        connection.filter(|connection| connection.number == number)
    }

    fn next_to_leave(&mut self, now: Time, peace: GracePeriods) -> Option<Candidate> {
        let Self { open, candidates, .. } = self;
        let candidate = |key, &Connection { number, ref phase, .. }: &Connection| Candidate {
            key,
            number,
            phase: phase.get(),
        };
        let is_current = |seen: Candidate| {
            open.get(seen.key).is_some_and(|now| candidate(seen.key, now) == seen)
        };
        candidates.next(now, peace, is_current, || {
            open.iter().map(|(key, connection)| candidate(key, connection))
        })
    }
}

impl Slot {
    /// The clock by which instants are told.
    pub(super) fn clock(&self) -> Clock {
        self.registry.0.clock
    }

    /// A complete request is there. Returns false if the connection is being closed: then the request
    /// must not be handled.
    #[must_use]
    pub(super) fn begin(&self) -> bool {
        self.phase.set(Phase::Busy)
    }

    /// The server waits for the rest of a request.
    pub(super) fn wait_for_request(&self) {
        // If it is being closed, the request ends with the task.
        self.phase.set(Phase::Awaited(self.clock().now()));
    }

    /// A request was answered at this instant.
    pub(super) fn become_idle(&self, since: Time) {
        self.phase.set(Phase::Idle(since));
        if self.is_surplus() {
            self.registry.0.changed.notify_one();
        }
    }

    /// The client does not take its answer.
    pub(super) fn stall(&self) {
        self.phase.set(Phase::Stalled(self.clock().now()));
    }

    /// Whether the connection should end with the next answer, for there are more than there may be.
    pub(super) fn is_surplus(&self) -> bool {
        self.registry.0.is_short.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if state.find(self.key, self.number).is_some() {
            state.open.remove(self.key);
            self.registry.count(&state);
        }
    }
}
