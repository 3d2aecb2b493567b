//! The state machine itself: what it consists of, and how its time passes.
//!
//! Operations stand in the modules below, by what they are for. Each of them first lets time pass
//! ([`Throttle::advance`]), so that whoever is due is gone before it looks at anything; then it
//! checks everything; then it changes everything.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;

use crate::{
    CancelCause, Count, Error, Event, FencingToken, Labels, PeerId, SemaphoreId, Ticket, Time,
    deadlines::Deadlines,
    peers::{Held, Peer, Peers, Pending, Slot, Wait},
    semaphore::{Place, Semaphore, Waiter},
    time::nanos,
};

mod configure;
mod inspect;
mod lease;
mod lock;
mod validate;
mod wait;

pub use self::{
    inspect::{HeldLock, PeerCursor, PeerStatus, PeerSummary, PendingLock, SemaphoreStatus},
    lease::Restoration,
    lock::{Admission, Release, Request},
};

/// Limits and time spans that may change while the machine runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How long a waiter whose connection broke keeps its place without asking again. Default: 10 s.
    pub abandoned_after: Duration,
    /// The most peers there may be at a time. Default: two million.
    pub max_peers: u32,
    /// The most peers that may wait for one semaphore at a time. Default: one million.
    pub max_waiters: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            abandoned_after: Duration::from_secs(10),
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
    now: Time,
    /// By [`SemaphoreId`]; `None` where one was removed.
    semaphores: Vec<Option<Semaphore>>,
    peers: Peers,
    /// For each peer an instant at or before its [`Peer::timeout`]. A heartbeat only moves the
    /// timeout; the entry follows when it comes up. So heartbeats are O(1), and each one pays for at
    /// most one later correction.
    deadlines: Deadlines,
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
            semaphores: Vec::new(),
            peers: Peers::new(0),
            deadlines: Deadlines::default(),
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
        self.events.pop_front()
    }

    /// Until when nothing happens by itself: [`expire`](Self::expire) need not be called before.
    ///
    /// It may be earlier than the first deadline, never later. O(1).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let time = self.deadlines.first()?;
        (time < Time::MAX).then_some(time)
    }

    /// Removes every peer whose deadline is at or before `now`, and serves the queues they leave.
    ///
    /// Peers that leave at the same instant leave in one step: none of them is granted what another
    /// one held. Waiters parked for too long lose their pending lock. Returns whether anything
    /// happened. Costs O(log n) for each peer that leaves.
    pub fn expire(&mut self, now: Time) -> bool {
        let before = self.events.len();
        self.advance(now);
        self.events.len() > before
    }

    /// The first line of every operation: lets time pass until `now`.
    fn advance(&mut self, now: Time) {
        let now = now.max(self.now).min(Time::from_nanos(Time::MAX.as_nanos() - 1));
        while let Some(due) = self.deadlines.first().filter(|&due| due <= now) {
            self.now = self.now.max(due);
            self.settle_all_at(due);
        }
        self.now = now;
    }

    /// Does what is due at this very instant, and nothing that is due later.
    ///
    /// Those who are concerned have their turn in the order of their ids. Entries of peers whose
    /// timeout has moved since are corrected.
    fn settle_all_at(&mut self, due: Time) {
        let (mut concerned, mut events) = (Vec::new(), 0);
        self.deadlines.settle(due, |slot| {
            let peer = self.peers.get(slot);
            let timeout = peer.timeout();
            if timeout > due {
                return Some(timeout);
            }
            concerned.push((peer.id, slot));
            events += 1 + peer.held.len() + usize::from(peer.pending.is_some());
            // Who was parked for too long lives on.
            Some(peer.lease_end()).filter(|&end| end > due)
        });
        if concerned.is_empty() {
            return;
        }
        self.events.reserve(events);
        concerned.sort_unstable_by_key(|&(id, _)| id);
        let mut vacated = Vec::new();
        for few in concerned.chunks(AT_A_TIME) {
            self.peers.fetch(few);
            for &(id, slot) in few {
                if self.peers.get(slot).lease_end() <= due {
                    self.evict(slot, &mut vacated);
                    self.events.push_back(Event::Expired { peer: id });
                } else {
                    self.cancel(slot, CancelCause::Abandoned);
                }
            }
        }
        self.peers.forget(&concerned);
        self.clear(vacated);
    }

    /// Removes a peer, whose deadline was removed before, with all it holds and awaits. Its places
    /// are to be [cleared](Self::clear) before anything else happens.
    fn evict(&mut self, slot: Slot, vacated: &mut Vec<(SemaphoreId, Place)>) {
        let Peer { id, held, pending, .. } = self.peers.remove(slot);
        for lock in held {
            vacated.push((lock.semaphore, Place::Holder(lock.token)));
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
            vacated.push((pending.semaphore, Place::Waiter(pending.ticket)));
            self.semaphore_mut(pending.semaphore).give_up(pending.count);
            self.announce_cancelled(id, pending, CancelCause::PeerGone);
        }
    }

    /// Clears places that evicted peers have left, then serves the queues, each once, in order of the
    /// semaphores.
    fn clear(&mut self, mut vacated: Vec<(SemaphoreId, Place)>) {
        vacated.sort_unstable_by_key(|&(semaphore, _)| semaphore);
        let vacated = || vacated.chunk_by(|(one, _), (other, _)| one == other);
        for places in vacated() {
            let semaphore = self.semaphores[places[0].0.index()].as_mut();
            let semaphore = semaphore.expect("a semaphore in use is not removed");
            semaphore.clear(places.iter().map(|&(_, place)| place), |slot| self.peers.lives(slot));
        }
        for places in vacated() {
            self.serve(places[0].0);
        }
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
    fn serve(&mut self, id: SemaphoreId) {
        while let Some(Waiter { slot, .. }) = self.semaphore_mut(id).pop_next() {
            let pending = self.peers.get_mut(slot).pending.take().expect("only pending peers wait");
            self.grant(slot, id, pending.count, Some(self.now - pending.since));
            self.answer_wait(slot, pending.wait);
        }
    }

    /// Makes a lock held.
    fn grant(
        &mut self,
        slot: Slot,
        id: SemaphoreId,
        count: Count,
        waited: Option<Duration>,
    ) -> FencingToken {
        let token = self.semaphore_mut(id).grant(slot, count);
        let since = self.now;
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
    fn answer_wait(&mut self, slot: Slot, wait: Wait) {
        if matches!(wait, Wait::Attended(_)) {
            self.renew(slot);
        } else {
            self.schedule(slot);
        }
    }

    /// Lets the lease of a peer begin anew.
    fn renew(&mut self, slot: Slot) {
        let peer = self.peers.get_mut(slot);
        peer.deadline = self.now + Duration::from_nanos(peer.expires_in);
        self.schedule(slot);
    }

    /// Sees to it that the timeout of a peer is not missed, after it may have come nearer.
    fn schedule(&mut self, slot: Slot) {
        let timeout = self.peers.get(slot).timeout();
        if timeout < self.deadlines.at(slot) {
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
        let slot = self.peers.insert(Peer {
            id,
            expires_in: nanos(expires_in),
            deadline: self.now + expires_in,
            held: smallvec::SmallVec::new(),
            pending: None,
            labels,
        });
        self.deadlines.insert(slot, self.now + expires_in);
        slot
    }
}

/// How many peers are fetched from memory together: about as many as a processor can wait for.
const AT_A_TIME: usize = 16;
