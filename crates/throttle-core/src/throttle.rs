//! The state machine itself: what it consists of, and how its time passes.
//!
//! Operations stand in the modules below, by what they are for. Each of them first lets time pass
//! ([`Throttle::advance`]), so that whoever is due is gone before it looks at anything; then it
//! checks everything; then it changes everything.

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

use crate::{
    Error, Event, FencingToken, PeerId, SemaphoreId, Ticket, Time,
    absent_peers::AbsentPeers,
    deadlines::Deadlines,
    peers::{Peers, Slot},
    semaphore::Semaphore,
};

mod configure;
mod expiry;
mod inspect;
mod lease;
mod lifecycle;
mod lock;
mod queue;
mod sequence;
mod validate;
mod wait;

pub use self::{
    inspect::PeerCursor,
    lifecycle::{NewPeer, Restoration},
    lock::{Admission, LockRequest, Release},
};

/// Limits and time spans that may change while the machine runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How long a waiter whose connection broke keeps its place without asking again. Default: 10 s.
    pub abandoned_after: Duration,
    /// The most bytes that the labels of all peers may take, as [`Labels::bytes`](crate::Labels::bytes) has it. Default: 256 MiB.
    pub max_label_bytes: u64,
    /// The most peers there may be at a time. Default: two million.
    pub max_peers: u32,
    /// The most peers that may wait for one semaphore at a time. Default: one million.
    pub max_waiters: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            abandoned_after: Duration::from_secs(10),
            max_label_bytes: 256 << 20,
            max_peers: 2_000_000,
            max_waiters: 1_000_000,
        }
    }
}

/// Counting semaphores and the peers that lock them.
///
/// Its state is a function of the operations applied to it and of the instants they were handed.
/// An instant before the latest one counts as the latest: time never runs backwards.
#[derive(Debug)]
pub struct Throttle {
    settings: Settings,
    /// Everything that is due until this instant is done.
    now: Time,
    /// When leases begin: the latest instant that the machine was told. Later than `now` only while
    /// there is a backlog.
    present: Time,
    /// By [`SemaphoreId`]; `None` where one was removed.
    semaphores: Vec<Option<Semaphore>>,
    peers: Peers,
    /// For each peer an instant at or before its [`Peer::timeout`](crate::peers::Peer::timeout). A heartbeat only moves the
    /// timeout; the entry follows when it comes up. So heartbeats are O(1), and each one pays for at
    /// most one later correction.
    deadlines: Deadlines,
    absent: AbsentPeers,
    /// Of all peers.
    label_bytes: u64,
    last_ticket: Ticket,
    /// Semaphores that are added mint tokens greater than this one.
    last_token: FencingToken,
    events: VecDeque<Event>,
}

impl Throttle {
    /// A machine without semaphores or peers, at [`Time::ZERO`].
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Time::ZERO,
            present: Time::ZERO,
            semaphores: Vec::new(),
            peers: Peers::new(0),
            deadlines: Deadlines::default(),
            absent: AbsentPeers::default(),
            label_bytes: 0,
            last_ticket: Ticket(0),
            last_token: FencingToken(0),
            events: VecDeque::new(),
        }
    }

    /// Mints only tokens greater than `token`, so that they keep growing over restarts.
    ///
    /// The token is lowered where needed to leave room for 2^40 grants of each semaphore below
    /// [`FencingToken::MAX`]: a million a second for twelve days, should a clock be set decades ahead.
    #[must_use]
    pub fn with_token_floor(mut self, token: u64) -> Self {
        self.last_token = FencingToken(token.min(FencingToken::MAX.get() - (1 << 40)));
        self
    }

    /// Hashes peer ids with this seed. Clients that restore themselves choose their ids; a seed they
    /// cannot know keeps them from choosing ids that collide. It changes no answer.
    ///
    /// # Panics
    ///
    /// If there are peers already.
    #[must_use]
    pub fn with_hash_seed(mut self, seed: u64) -> Self {
        assert_eq!(self.peers.len(), 0, "the seed is set before the first peer comes");
        self.peers = Peers::new(seed);
        self
    }

    /// Replaces limits and time spans. They act on what comes: nobody is sent away.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The next event, in the order in which things happened. Drain it after every operation.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() && self.events.capacity() > SPARE_EVENTS {
            self.shrink_events();
        }
        self.events.pop_front()
    }

    /// So much happens at once only now and then.
    #[cold]
    #[inline(never)]
    fn shrink_events(&mut self) {
        self.events = VecDeque::new();
    }

    /// Until when nothing happens by itself: [`expire`](Self::expire) need not be called before.
    ///
    /// It may be earlier than the first deadline, never later. O(1).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let (time, _) = self.deadlines.first()?;
        (time < Time::MAX).then_some(time)
    }

    fn slot(&self, peer: PeerId) -> Result<Slot, Error> {
        self.peers.slot(peer).ok_or(Error::UnknownPeer)
    }

    fn semaphore(&self, id: SemaphoreId) -> Result<&Semaphore, Error> {
        let semaphore = self.semaphores.get(id.index()).and_then(Option::as_ref);
        semaphore.ok_or(Error::UnknownSemaphore)
    }

    /// A semaphore that is known to exist, for it is held, awaited, or was just checked.
    fn semaphore_mut(&mut self, id: SemaphoreId) -> &mut Semaphore {
        self.semaphores[id.index()].as_mut().expect("a semaphore in use is not removed")
    }
}

/// Room for so many events is kept from one operation to the next: 64 kB.
const SPARE_EVENTS: usize = 1_024;
