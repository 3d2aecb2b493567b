//! Looking at the state without changing it.
//!
//! Everything here tells how things stand at the instant that the machine has reached. To leave out
//! who is due meanwhile, call [`Throttle::expire`] first.

use alloc::vec::Vec;
use core::time::Duration;

use super::Throttle;
use crate::{
    Count, Error, FencingToken, Labels, Level, PeerId, SemaphoreId, Ticket, Time,
    peers::{Held, Peer, Pending, WaitState},
};

/// A semaphore in numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SemaphoreStatus {
    /// Its full count.
    pub max: Count,
    /// Its place in the lock hierarchy.
    pub level: Level,
    /// Sum of the counts held. May exceed `max` after restores and after `max` was lowered.
    pub held: u64,
    /// Sum of the counts awaited, parked waiters included.
    pub pending: u128,
    /// How many peers hold it.
    pub holders: usize,
    /// How many peers wait for it, parked ones included.
    pub waiters: usize,
    /// For how long the longest waiting peer has been waiting; zero if nobody waits.
    pub longest_pending: Duration,
    /// For how long the peer that was granted its lock first has been holding it; zero if nobody does.
    pub longest_held: Duration,
}

impl SemaphoreStatus {
    /// `max` minus the sum held. Negative if that exceeds it.
    pub const fn remainder(&self) -> i64 {
        self.max.get().cast_signed() - self.held.cast_signed()
    }
}

/// A peer, what it holds and what it waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerStatus<'a> {
    /// Who.
    pub id: PeerId,
    /// The length of the lease.
    pub expires_in: Duration,
    /// What is left of the lease. All of it while an open request keeps it from running.
    pub time_left: Duration,
    /// What the peer says about itself.
    pub labels: Option<&'a Labels>,
    /// What it holds, in the order of the grants.
    pub held: Vec<HeldLock>,
    /// What it waits for.
    pub pending: Option<PendingLock>,
}

/// What a list of holders or waiters tells of each peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerSummary<'a> {
    /// Who.
    pub id: PeerId,
    /// What is left of the lease. All of it while an open request keeps it from running.
    pub time_left: Duration,
    /// What the peer says about itself.
    pub labels: Option<&'a Labels>,
}

/// A lock that is held.
#[expect(missing_docs, reason = "fields say what, how much and for how long")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldLock {
    pub semaphore: SemaphoreId,
    pub count: Count,
    pub token: FencingToken,
    pub held_for: Duration,
}

/// A lock that is awaited.
#[expect(missing_docs, reason = "fields say what, how much and for how long")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PendingLock {
    pub semaphore: SemaphoreId,
    pub count: Count,
    pub ticket: Ticket,
    pub waiting_for: Duration,
    /// Whether the waiter is passed over because its connection broke.
    pub parked: bool,
}

/// A place in the list of peers, to continue behind it later.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PeerCursor(usize);

impl Throttle {
    /// The instant until which everything that was due is done: the latest one that the machine was
    /// told, unless [`catch_up`](Self::catch_up) left a backlog.
    pub fn now(&self) -> Time {
        self.now
    }

    /// A semaphore in numbers. O(log n).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    pub fn semaphore_status(&self, id: SemaphoreId) -> Result<SemaphoreStatus, Error> {
        let semaphore = self.semaphore(id)?;
        let longest = semaphore.longest_waiting().and_then(|slot| self.peers.get(slot).pending);
        let since = semaphore.first_held_since();
        Ok(SemaphoreStatus {
            max: semaphore.max,
            level: semaphore.level,
            held: semaphore.held(),
            pending: semaphore.pending(),
            holders: semaphore.holders_len(),
            waiters: semaphore.waiters_len(),
            longest_pending: longest.map_or(Duration::ZERO, |lock| self.now - lock.since),
            longest_held: since.map_or(Duration::ZERO, |since| self.now - since),
        })
    }

    /// How many peers there are. O(1).
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// About how much memory the labels of all peers take, in bytes. O(1).
    pub fn label_bytes(&self) -> u64 {
        self.label_bytes
    }

    /// Whether a peer has this id. O(1).
    pub fn has_peer(&self, peer: PeerId) -> bool {
        self.peers.slot(peer).is_some()
    }

    /// Whether the peer waits for nothing. O(1).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPeer`]
    pub fn is_acquired(&self, peer: PeerId) -> Result<bool, Error> {
        Ok(self.peers.get(self.slot(peer)?).pending.is_none())
    }

    /// One peer. O(1) for each lock.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPeer`]
    pub fn peer_status(&self, peer: PeerId) -> Result<PeerStatus<'_>, Error> {
        Ok(self.status(self.peers.get(self.slot(peer)?)))
    }

    /// Where the peer stands in the queue that it waits in; 1 is the one that comes next. Waiters whose
    /// connection broke are passed over.
    ///
    /// None if it waits for nothing, is passed over itself, or stands behind the first `limit`. Costs
    /// O(limit).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPeer`]
    pub fn place(&self, peer: PeerId, limit: usize) -> Result<Option<usize>, Error> {
        let peer = self.peers.get(self.slot(peer)?);
        let queued = |lock: &&Pending| !matches!(lock.wait, WaitState::Parked(_));
        let Some(lock) = peer.pending.as_ref().filter(queued) else { return Ok(None) };
        let before = self.semaphore(lock.semaphore)?.queued_before(lock.ticket, limit);
        Ok((before < limit).then_some(before + 1))
    }

    /// All peers behind `after`, in an order of no meaning that stays the same.
    ///
    /// Who lists them in several steps sees each peer that lives all the while exactly once.
    pub fn peers(
        &self,
        after: Option<PeerCursor>,
    ) -> impl Iterator<Item = (PeerCursor, PeerStatus<'_>)> {
        let from = after.map_or(0, |cursor| cursor.0 + 1);
        let peers = self.peers.iter_from(from);
        peers.map(|(slot, peer)| (PeerCursor(slot.index()), self.status(peer)))
    }

    /// Who holds a lock on the semaphore, in the order of the grants, behind `after`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    #[expect(clippy::missing_panics_doc, reason = "the invariant is checked by validate")]
    pub fn holders(
        &self,
        id: SemaphoreId,
        after: Option<FencingToken>,
    ) -> Result<impl Iterator<Item = (HeldLock, PeerSummary<'_>)>, Error> {
        let holders = self.semaphore(id)?.holders_after(after);
        Ok(holders.map(move |(_, slot)| {
            let peer = self.peers.get(slot);
            let held = peer.held(id).expect("a holder holds the semaphore");
            (self.held_lock(held), self.summary(peer))
        }))
    }

    /// Who waits for the semaphore, in the order of arrival, behind `after`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    #[expect(clippy::missing_panics_doc, reason = "the invariant is checked by validate")]
    pub fn waiters(
        &self,
        id: SemaphoreId,
        after: Option<Ticket>,
    ) -> Result<impl Iterator<Item = (PendingLock, PeerSummary<'_>)>, Error> {
        let waiters = self.semaphore(id)?.waiters_after(after);
        Ok(waiters.map(move |(_, waiter)| {
            let peer = self.peers.get(waiter.slot);
            let pending = peer.pending.as_ref().expect("only pending peers wait");
            (self.pending_lock(pending), self.summary(peer))
        }))
    }

    fn status<'a>(&self, peer: &'a Peer) -> PeerStatus<'a> {
        let PeerSummary { id, time_left, labels } = self.summary(peer);
        PeerStatus {
            id,
            expires_in: Duration::from_nanos(peer.expires_in),
            time_left,
            labels,
            held: peer.held.iter().map(|lock| self.held_lock(lock)).collect(),
            pending: peer.pending.as_ref().map(|lock| self.pending_lock(lock)),
        }
    }

    fn summary<'a>(&self, peer: &'a Peer) -> PeerSummary<'a> {
        let time_left = match peer.lease_end() {
            Time::MAX => Duration::from_nanos(peer.expires_in),
            end => end - self.present,
        };
        PeerSummary { id: peer.id, time_left, labels: peer.labels.as_deref() }
    }

    fn held_lock(&self, lock: &Held) -> HeldLock {
        HeldLock {
            semaphore: lock.semaphore,
            count: lock.count,
            token: lock.token,
            held_for: self.now - lock.since,
        }
    }

    fn pending_lock(&self, lock: &Pending) -> PendingLock {
        PendingLock {
            semaphore: lock.semaphore,
            count: lock.count,
            ticket: lock.ticket,
            waiting_for: self.now - lock.since,
            parked: matches!(lock.wait, WaitState::Parked(_)),
        }
    }
}
