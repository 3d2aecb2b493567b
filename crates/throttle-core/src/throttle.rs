//! The state machine itself: what it consists of, and how its time passes.
//!
//! Operations stand in the modules below, by what they are for. Each of them first lets time pass
//! ([`Throttle::advance`]), so that whoever is due is gone before it looks at anything; then it
//! checks everything; then it changes everything.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;

use crate::{
    CancelCause, Count, Error, Event, FencingToken, Labels, PeerId, SemaphoreId, Sequence, Ticket,
    Time,
    absent_peers::AbsentPeers,
    deadlines::Deadlines,
    peers::{Held, Peer, Peers, Pending, Slot, WaitState},
    semaphore::{EntryKey, Semaphore, WaiterEntry},
    time::nanos,
};

mod configure;
mod expiry;
mod inspect;
mod lease;
mod lock;
mod sequence;
mod validate;
mod wait;

pub use self::{
    inspect::{HeldLock, PeerCursor, PeerStatus, PeerSummary, PendingLock, SemaphoreStatus},
    lease::Restoration,
    lock::{Admission, LockRequest, Release},
};

/// Limits and time spans that may change while the machine runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How long a waiter whose connection broke keeps its place without asking again. Default: 10 s.
    pub abandoned_after: Duration,
    /// The most bytes that the labels of all peers may take, as [`Labels::bytes`] has it. Default: 256 MiB.
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
    /// For each peer an instant at or before its [`Peer::timeout`]. A heartbeat only moves the
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
    pub fn minting_tokens_after(mut self, token: u64) -> Self {
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
            self.give_back_room_for_events();
        }
        self.events.pop_front()
    }

    /// So much happens at once only now and then.
    #[cold]
    #[inline(never)]
    fn give_back_room_for_events(&mut self) {
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

    /// Removes a peer, whose deadline was removed before, with all it holds and awaits. Its places
    /// are to be [cleared](Self::clear) before anything else happens.
    ///
    /// Returns how many locks it held and what it said about itself.
    fn evict(
        &mut self,
        slot: Slot,
        vacated: &mut Vec<(SemaphoreId, EntryKey)>,
    ) -> (u32, Option<Box<Labels>>) {
        let Peer { id, sequence, held, pending, labels, .. } = self.peers.remove(slot);
        self.label_bytes -= bytes(labels.as_deref());
        if sequence > Sequence::default() {
            self.absent.record_former(id, sequence, self.now);
        }
        let locks = u32::try_from(held.len()).expect("there are fewer semaphores than 2^32");
        for lock in held {
            vacated.push((lock.semaphore, EntryKey::Holder(lock.token)));
            self.semaphore_mut(lock.semaphore).give_back(lock.count);
            self.events.push_back(Event::Released {
                peer: id,
                semaphore: lock.semaphore,
                count: lock.count,
                token: lock.token,
                held: self.now - lock.since,
            });
        }
        if let Some(pending) = pending {
            vacated.push((pending.semaphore, EntryKey::Waiter(pending.ticket)));
            self.semaphore_mut(pending.semaphore).give_up(pending.count);
            self.announce_cancelled(id, pending, CancelCause::PeerGone);
        }
        (locks, labels)
    }

    /// Gives up the pending lock of a peer, which must have one, without serving anybody yet.
    fn cancel(&mut self, slot: Slot, cause: CancelCause) {
        let peer = self.peers.get_mut(slot);
        let pending = peer.pending.take().expect("only pending locks are cancelled");
        let id = peer.id;
        self.semaphore_mut(pending.semaphore).dequeue(pending.ticket);
        self.announce_cancelled(id, pending, cause);
        self.answer_wait(slot, pending.wait);
    }

    fn announce_cancelled(&mut self, peer: PeerId, pending: Pending, cause: CancelCause) {
        self.events.push_back(Event::Cancelled {
            peer,
            semaphore: pending.semaphore,
            count: pending.count,
            waited: self.now - pending.since,
            cause,
        });
    }

    /// Grants the head of the queue what it asks for, and the next one, as long as there is room.
    /// Returns the number of grants.
    fn serve(&mut self, id: SemaphoreId) -> usize {
        let mut grants = 0;
        while let Some(WaiterEntry { slot, .. }) = self.semaphore_mut(id).pop_next() {
            let pending = self.peers.get_mut(slot).pending.take().expect("only pending peers wait");
            self.grant(slot, id, pending.count, Some(self.now - pending.since));
            self.answer_wait(slot, pending.wait);
            grants += 1;
        }
        grants
    }

    /// Makes a lock held.
    fn grant(
        &mut self,
        slot: Slot,
        id: SemaphoreId,
        count: Count,
        waited: Option<Duration>,
    ) -> FencingToken {
        let since = self.now;
        let token = self.semaphore_mut(id).grant(slot, count, since);
        let peer = self.peers.get_mut(slot);
        peer.held.push(Held { semaphore: id, count, token, since });
        self.events.push_back(Event::Granted {
            peer: peer.id,
            semaphore: id,
            count,
            token,
            waited,
        });
        token
    }

    /// After a wait has got its answer: if somebody listened, the lease counts anew from now.
    ///
    /// It does not end before the next instant. So at one instant nobody's turn follows from the end of a
    /// lease that itself began then, and a queue of waiters with leases of no time is no single step.
    fn answer_wait(&mut self, slot: Slot, wait: WaitState) {
        if !matches!(wait, WaitState::Attended(_)) {
            return self.schedule(slot);
        }
        let (earliest, present) = (self.now.just_after(), self.present);
        let peer = self.peers.get_mut(slot);
        peer.deadline = (present + Duration::from_nanos(peer.expires_in)).max(earliest);
        self.schedule(slot);
    }

    /// Lets the lease of a peer begin anew.
    fn renew(&mut self, slot: Slot) {
        let peer = self.peers.get_mut(slot);
        peer.deadline = self.present + Duration::from_nanos(peer.expires_in);
        self.schedule(slot);
    }

    /// Sees to it that the timeout of a peer is not missed, after it may have come nearer.
    fn schedule(&mut self, slot: Slot) {
        let timeout = self.peers.get(slot).timeout();
        // Who is about to leave has no entry any more.
        if self.deadlines.at(slot).is_some_and(|entry| timeout < entry) {
            self.deadlines.set(slot, timeout);
        }
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

    /// Adds a peer without locks.
    fn admit(&mut self, id: PeerId, expires_in: Duration, labels: Option<Box<Labels>>) -> Slot {
        self.label_bytes += bytes(labels.as_deref());
        let deadline = self.present + expires_in;
        let slot = self.peers.insert(Peer {
            id,
            expires_in: nanos(expires_in),
            deadline,
            sequence: Sequence::default(),
            held: smallvec::SmallVec::new(),
            pending: None,
            labels,
        });
        self.deadlines.insert(slot, deadline);
        slot
    }
}

/// Room for so many events is kept from one operation to the next: 64 kB.
const SPARE_EVENTS: usize = 1_024;

fn bytes(labels: Option<&Labels>) -> u64 {
    labels.map_or(0, Labels::bytes)
}
