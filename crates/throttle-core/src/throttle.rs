//! The state machine itself: what it consists of, and how its time passes.
//!
//! Operations stand in the modules below, by what they are for. Each of them first lets time pass
//! ([`Throttle::advance`]), so that whoever is due is gone before it looks at anything; then it
//! checks everything; then it changes everything.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::{mem, time::Duration};

use crate::{
    CancelCause, Count, Error, Event, FencingToken, Labels, PeerId, SemaphoreId, Sequence, Ticket,
    Time,
    barred::Barred,
    deadlines::Deadlines,
    peers::{Held, Peer, Peers, Pending, Slot, Wait},
    semaphore::{Place, Semaphore, Waiter},
    time::nanos,
};

mod configure;
mod inspect;
mod lease;
mod lock;
mod order;
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
    barred: Barred,
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
            barred: Barred::default(),
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

    /// As [`expire`](Self::expire), and tells the events as they happen, in place of keeping them for
    /// [`poll_event`](Self::poll_event). Those that are there already come first.
    ///
    /// When very many peers leave, the list of all that happened would be larger than any cache.
    pub fn expire_telling(&mut self, now: Time, mut tell: impl FnMut(Event)) {
        self.advance_telling(now, &mut |events| events.drain(..).for_each(&mut tell));
    }

    /// The first line of every operation: lets time pass until `now`.
    fn advance(&mut self, now: Time) {
        self.advance_telling(now, &mut |_| {});
    }

    /// `tell` takes events away, or leaves them to be polled.
    fn advance_telling(&mut self, now: Time, tell: &mut dyn FnMut(&mut VecDeque<Event>)) {
        let now = now.max(self.now).min(Time::from_nanos(Time::MAX.as_nanos() - 1));
        while self.deadlines.first().is_some_and(|due| due <= now) {
            self.settle(now, tell);
        }
        self.now = now;
        tell(&mut self.events);
    }

    /// Does what is due until an instant, one instant after the other.
    ///
    /// Those who are concerned at the same instant have their turn in the order of their ids, and
    /// leave before anybody is served. As long as nobody waits where they leave, nothing that happens
    /// at one instant concerns those who are due at another; so their places are cleared together.
    fn settle(&mut self, until: Time, tell: &mut dyn FnMut(&mut VecDeque<Event>)) {
        let mut agenda = Vec::new();
        self.take_due(until, &mut agenda);
        let mut vacated = Vec::with_capacity(agenda.len());
        let mut left = Vec::with_capacity(agenda.len());
        let mut next = 0;
        while let Some(&(due, ..)) = agenda.get(next) {
            // Who was granted a lock at an earlier instant may have a lease so short that it ends
            // before this one.
            if self.deadlines.first().is_some_and(|first| first <= due) {
                agenda.drain(..next);
                next = 0;
                self.take_due(due, &mut agenda);
                continue;
            }
            self.now = self.now.max(due);
            let mut anybody_waits = false;
            while let Some(&(_, id, slot)) = agenda.get(next).filter(|(time, ..)| *time == due) {
                if next.is_multiple_of(AT_A_TIME) {
                    tell(&mut self.events);
                    self.peers.fetch(agenda[next..].iter().take(AT_A_TIME).map(|it| it.2));
                }
                next += 1;
                if self.peers.get(slot).lease_end() <= due {
                    let places = vacated.len();
                    self.evict(slot, &mut vacated);
                    anybody_waits |= vacated[places..].iter().any(|place| self.has_queue(place.0));
                    left.push((id, slot));
                    self.events.push_back(Event::Expired { peer: id });
                } else {
                    self.cancel(slot, CancelCause::Abandoned);
                }
            }
            if anybody_waits {
                self.clear(mem::take(&mut vacated));
            }
        }
        self.clear(vacated);
        self.peers.forget(&left);
    }

    /// Adds everybody who is due until an instant to the agenda, which is in order of time and id.
    ///
    /// Whose lease ends is taken out of the deadlines. Entries of peers whose timeout has moved since
    /// are corrected.
    fn take_due(&mut self, until: Time, agenda: &mut Vec<(Time, PeerId, Slot)>) {
        self.deadlines.settle(until, |slot| {
            let peer = self.peers.get(slot);
            let (timeout, end) = (peer.timeout(), peer.lease_end());
            if timeout > until {
                return Some(timeout);
            }
            agenda.push((timeout, peer.id, slot));
            if end > until {
                // Parked for too long, it lives on.
                return Some(end);
            }
            if timeout < end {
                agenda.push((end, peer.id, slot));
            }
            None
        });
        agenda.sort_unstable_by_key(|&(time, id, _)| (time, id));
    }

    fn has_queue(&self, semaphore: SemaphoreId) -> bool {
        self.semaphore(semaphore).is_ok_and(Semaphore::has_queue)
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
        let slot = self.peers.insert(Peer {
            id,
            expires_in: nanos(expires_in),
            deadline: self.now + expires_in,
            sequence: Sequence::default(),
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
