//! The state machine: its parts, and how an embedder polls it.
//!
//! The operations are in the modules below, by purpose. Each one first advances time
//! ([`Throttle::advance`]), so that peers that are due are gone; then it checks everything; then it
//! changes everything.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{
    Error, Event, FencingToken, PeerId, SemaphoreId, Settings, Ticket, Time,
    absent_peers::AbsentPeers,
    deadlines::Deadlines,
    peers::{Peers, Slot},
    semaphore::Semaphore,
};

mod configure;
mod creation;
mod expiry;
mod inspect;
mod invariants;
mod lease;
mod lock;
mod queue;
mod records;
mod recovery;
mod removal;
mod retirement;
mod sequence;
mod suspension;
mod wait;

pub use self::{
    creation::{NewPeer, Restoration},
    inspect::PeerCursor,
    lock::{Admission, LockRequest, Release},
    recovery::Recovery,
};

/// Counting semaphores and the peers that lock them.
///
/// The state is a function of the operations applied and of the instants passed to them. An instant
/// before the latest one counts as the latest: time never runs backwards.
#[derive(Debug)]
pub struct Throttle {
    settings: Settings,
    /// Everything due until this instant is done.
    now: Time,
    /// The latest instant passed in, at which leases begin. Later than `now` only while there is a
    /// backlog.
    present: Time,
    /// Indexed by [`SemaphoreId`]; `None` for a removed one.
    semaphores: Vec<Option<Semaphore>>,
    /// This semaphore and those after it grant nothing.
    suspended_from: Option<SemaphoreId>,
    peers: Peers,
    /// For each peer an instant at or before its [`timeout`](crate::peers::Peer::timeout). A heartbeat
    /// moves only the timeout; the entry is corrected when it comes up. So heartbeats are O(1), and each
    /// one causes at most one correction later.
    deadlines: Deadlines,
    absent: AbsentPeers,
    /// Sum over all peers.
    label_bytes: u64,
    last_ticket: Ticket,
    /// New semaphores issue tokens greater than this one.
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
            suspended_from: None,
            peers: Peers::new(0),
            deadlines: Deadlines::default(),
            absent: AbsentPeers::default(),
            label_bytes: 0,
            last_ticket: Ticket(0),
            last_token: FencingToken(0),
            events: VecDeque::new(),
        }
    }

    /// Makes all fencing tokens greater than `floor`, so that they keep growing over restarts.
    ///
    /// A floor too close to [`FencingToken::MAX`], from a clock that is decades ahead, is lowered to leave
    /// room for 2^40 grants of each semaphore: a million a second for twelve days.
    #[must_use]
    pub fn with_token_floor(mut self, floor: u64) -> Self {
        self.last_token = FencingToken(floor.min(FencingToken::MAX.get() - (1 << 40)));
        self
    }

    /// Makes all fencing tokens greater than `last`, the greatest of a machine that ended: its
    /// [`token_floor`](Self::token_floor). Unlike a floor from a clock it is never lowered.
    #[must_use]
    pub fn with_last_token(mut self, last: FencingToken) -> Self {
        self.last_token = self.last_token.max(last);
        self
    }

    /// Hashes peer ids with this seed. Clients choose their ids when they restore; a secret seed keeps
    /// them from choosing ids that collide. It changes no answer.
    ///
    /// # Panics
    ///
    /// If there are peers already.
    #[must_use]
    pub fn with_hash_seed(mut self, seed: u64) -> Self {
        assert_eq!(self.peers.len(), 0, "the seed is set before the first peer is created");
        self.peers = Peers::new(seed);
        self
    }

    /// Replaces limits and time spans. Peers and waiters above a lowered limit stay.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The next event, in the order in which things happened. Call it after every operation until it
    /// returns `None`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() && self.events.capacity() > SPARE_EVENTS {
            self.shrink_events();
        }
        self.events.pop_front()
    }

    #[cold]
    #[inline(never)]
    fn shrink_events(&mut self) {
        self.events = VecDeque::new();
    }

    /// The instant before which [`expire`](Self::expire) has nothing to do.
    ///
    /// It may be earlier than the first deadline, but never later. O(1).
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

    /// A semaphore that exists because it is held or awaited, or was just checked.
    fn semaphore_mut(&mut self, id: SemaphoreId) -> &mut Semaphore {
        self.semaphores[id.index()].as_mut().expect("a semaphore in use is not removed")
    }
}

/// Capacity that the queue of events keeps between operations: 64 kB.
const SPARE_EVENTS: usize = 1_024;
