//! Which connections are open, which of them nobody needs, and who has to leave when sockets run short.
//!
//! Holders come first: a newcomer may be the heartbeat of a peer that holds locks, and nobody knows
//! before its request is read. So a newcomer beyond the limit is not turned away. Instead the connection
//! that has been idle for longest is closed. If none is idle, one whose client does not read its answer
//! goes. Either must have lasted for a moment, for the request of a newcomer may be on its way.
//! If there is none of these, a short wait is told to end, and the newcomer takes a place of
//! the slack, a few places beyond the limit.
//!
//! A connection is *idle* while the server has no complete request of it: before the first one, between
//! two, while a head or a body is incomplete, and while the rest of a refused body is read. It is *busy*
//! from then on until its answer was written, and *stalled* while its client does not take the answer.
//!
//! Invariant: a connection that was chosen to be closed has left the registry, and [`Slot::begin`] tells
//! it so. Hence no request is handled on a connection that is about to be closed.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use metrics::{Counter, Gauge};
use slab::Slab;
use throttle_runtime::{Clock, Time};
use tokio::{sync::Notify, task::AbortHandle};

use super::{Limits, shortage::Shortage};

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
pub(super) struct Registry(Arc<Shared>);

struct Shared {
    limits: Limits,
    clock: Clock,
    metrics: ConnectionMetrics,
    /// Never held across an await, and for a few steps only.
    state: Mutex<State>,
    /// Somebody became idle while there was no room.
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: Slab<Connection>,
    /// By the instant at which they became idle; the one that is idle for longest comes first.
    idle: BTreeMap<Tick, usize>,
    stalled: BTreeMap<Tick, usize>,
    tick: Tick,
    shortage: Shortage,
}

/// A point in the order of events. It only grows.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Tick(u64);

struct Connection {
    /// Tells it from a later connection in the same place.
    accepted: Tick,
    /// `None` until the task was started.
    task: Option<AbortHandle>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    Busy,
    Idle(Tick, Time),
    Stalled(Tick, Time),
}

/// The place of one connection. Dropped, it is free.
pub(super) struct Slot {
    registry: Registry,
    key: usize,
    accepted: Tick,
}

impl Registry {
    pub(super) fn new(limits: Limits, clock: Clock, metrics: ConnectionMetrics) -> Self {
        metrics.open.set(0.0);
        let (state, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { limits, clock, metrics, state, changed }))
    }

    /// Enters a connection as idle; `spawn` starts the task that serves it.
    pub(super) fn enter(&self, spawn: impl FnOnce(Slot) -> AbortHandle) {
        let slot = {
            let mut state = self.lock();
            let accepted = state.next_tick();
            let connection = Connection { accepted, task: None, standing: Standing::Busy };
            let key = state.open.insert(connection);
            state.put(key, Standing::Idle(accepted, self.0.clock.now()));
            self.0.metrics.open.set(state.open.len() as f64);
            Slot { registry: self.clone(), key, accepted }
        };
        let (key, accepted) = (slot.key, slot.accepted);
        let task = spawn(slot);
        match self.lock().find(key, accepted) {
            Some(connection) => connection.task = Some(task),
            // It has ended already, or it was chosen to end.
            None => task.abort(),
        }
    }

    /// Whether there is room for one more connection, if need be by closing one that nobody needs.
    ///
    /// If there is none to close, `end_short_wait` is called, and the newcomer may use the slack.
    pub(super) fn make_room(&self, end_short_wait: impl FnOnce() -> bool) -> bool {
        let Capacity { connections, slack } = self.0.limits.capacity;
        let mut state = self.lock();
        // There may be more than one too many, if they came faster than one could tell who is idle.
        while state.open.len() >= connections && self.evict_one(&mut state) {}
        if state.open.len() < connections {
            return true;
        }
        drop(state);
        end_short_wait();
        self.lock().open.len() < connections + slack
    }

    /// Closes the connection that nobody needs for longest. Returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        self.evict_one(&mut self.lock())
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

    fn evict_one(&self, state: &mut State) -> bool {
        let now = self.0.clock.now();
        let key = state.first_to_leave(now, &self.0.limits);
        key.inspect(|&key| self.close(state, key, now)).is_some()
    }

    fn close(&self, state: &mut State, key: usize, now: Time) {
        let open = state.open.len();
        if let Some(task) = state.remove(key).task {
            task.abort();
        }
        self.0.metrics.open.set(state.open.len() as f64);
        self.0.metrics.evicted.increment(1);
        state.shortage.evicted(now, open, self.0.limits.capacity.connections);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics with it")
    }
}

impl State {
    fn next_tick(&mut self) -> Tick {
        self.tick.0 += 1;
        self.tick
    }

    fn find(&mut self, key: usize, accepted: Tick) -> Option<&mut Connection> {
        let connection = self.open.get_mut(key);
        connection.filter(|connection| connection.accepted == accepted)
    }

    /// The longest idle connection, or the longest stalled one, unless they are so for a moment only.
    fn first_to_leave(&self, now: Time, limits: &Limits) -> Option<usize> {
        let firsts = [self.idle.first_key_value(), self.stalled.first_key_value()];
        let mut firsts = firsts.into_iter().flatten().map(|(_, &key)| key);
        firsts.find(|&key| match self.open[key].standing {
            Standing::Busy => false,
            Standing::Idle(_, since) => now - since >= limits.idle,
            Standing::Stalled(_, since) => now - since >= limits.stall,
        })
    }

    /// Gives a connection another standing.
    fn put(&mut self, key: usize, standing: Standing) {
        let old = std::mem::replace(&mut self.open[key].standing, standing);
        self.leave(old);
        match standing {
            Standing::Busy => {}
            Standing::Idle(tick, _) => drop(self.idle.insert(tick, key)),
            Standing::Stalled(tick, _) => drop(self.stalled.insert(tick, key)),
        }
    }

    fn remove(&mut self, key: usize) -> Connection {
        let connection = self.open.remove(key);
        self.leave(connection.standing);
        connection
    }

    fn leave(&mut self, standing: Standing) {
        match standing {
            Standing::Busy => {}
            Standing::Idle(tick, _) => drop(self.idle.remove(&tick)),
            Standing::Stalled(tick, _) => drop(self.stalled.remove(&tick)),
        }
    }
}

impl Slot {
    /// A complete request is there. Returns false if the connection is being closed: then the request
    /// must not be handled.
    #[must_use]
    pub(super) fn begin(&self) -> bool {
        self.change(|_, _| Standing::Busy).is_some()
    }

    /// The server waits for the rest of a request.
    pub(super) fn wait_for_body(&self) {
        self.change(Standing::Idle);
    }

    /// A request was answered. If there are more connections than there may be, one is closed: one that
    /// is idle for longer, or this one.
    pub(super) fn idle(&self) {
        let Some(mut state) = self.change(Standing::Idle) else { return };
        let limit = self.registry.0.limits.capacity.connections;
        let is_short = state.open.len() >= limit;
        if state.open.len() > limit && !self.registry.evict_one(&mut state) {
            let now = self.registry.0.clock.now();
            self.registry.close(&mut state, self.key, now);
        }
        drop(state);
        if is_short {
            self.registry.0.changed.notify_one();
        }
    }

    /// The client does not take its answer.
    pub(super) fn stalled(&self) {
        self.change(Standing::Stalled);
    }

    /// Changes the standing, unless the connection is being closed.
    fn change(
        &self,
        standing: impl FnOnce(Tick, Time) -> Standing,
    ) -> Option<MutexGuard<'_, State>> {
        let mut state = self.registry.lock();
        state.find(self.key, self.accepted)?;
        let tick = state.next_tick();
        state.put(self.key, standing(tick, self.registry.0.clock.now()));
        Some(state)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if state.find(self.key, self.accepted).is_some() {
            state.remove(self.key);
            self.registry.0.metrics.open.set(state.open.len() as f64);
        }
    }
}
