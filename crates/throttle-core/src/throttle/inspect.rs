//! Reads of the state, which change nothing.
//!
//! They show the instant that the machine has reached. To leave out peers that have become due since,
//! call [`Throttle::expire`] first.

use core::time::Duration;

use super::Throttle;
use crate::{
    Error, FencingToken, HeldLock, Holder, Labels, PeerId, PeerStatus, PendingLock, SemaphoreId,
    SemaphoreStatus, Ticket, Time, Waiter,
    peers::{Held, Peer, Pending, Slot, WaitState},
    semaphore::Deferred,
};

/// A position in the list of peers, from which to continue later.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PeerCursor(usize);

impl Throttle {
    /// The instant until which everything that was due is done: the latest one passed in, unless
    /// [`catch_up`](Self::catch_up) left a backlog.
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
            id,
            name: (),
            max: semaphore.max(),
            level: semaphore.level,
            next_level: match semaphore.deferred() {
                Some(Deferred::Level(level)) => Some(level),
                Some(Deferred::Removal) | None => None,
            },
            retired: semaphore.is_retired(),
            held: semaphore.held(),
            pending: u64::try_from(semaphore.pending()).unwrap_or(u64::MAX),
            holders: semaphore.holders_len(),
            waiters: semaphore.waiters_len(),
            longest_pending: longest.map_or(Duration::ZERO, |lock| self.now - lock.since),
            longest_held: since.map_or(Duration::ZERO, |since| self.now - since),
        })
    }

    /// The number of peers. O(1).
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

    /// One peer, with its place in the queue if it is among the first `places`. O(1) for each lock, and
    /// O(`places`).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPeer`]
    pub fn peer_status(&self, peer: PeerId, places: usize) -> Result<PeerStatus, Error> {
        let mut status = self.status(self.peers.get(self.slot(peer)?));
        if let Some(lock) = status.pending.as_mut().filter(|lock| !lock.parked) {
            let before = self.semaphore(lock.semaphore)?.queued_before(lock.ticket, places);
            lock.place = (before < places).then_some(before + 1);
        }
        Ok(status)
    }

    /// All peers after the cursor, in an arbitrary order that stays the same.
    ///
    /// A caller that reads the list in several steps sees each peer that exists throughout exactly once.
    pub fn peers(
        &self,
        after: Option<PeerCursor>,
    ) -> impl Iterator<Item = (PeerCursor, PeerStatus)> {
        self.peers_after(after).map(|(cursor, peer)| (cursor, self.status(peer)))
    }

    /// The peers after the cursor, in the order of their slots.
    pub(super) fn peers_after(
        &self,
        after: Option<PeerCursor>,
    ) -> impl Iterator<Item = (PeerCursor, &Peer)> {
        let from = after.map_or(0, |cursor| cursor.0 + 1);
        self.peers.iter_from(from).map(|(slot, peer)| (PeerCursor(slot.index()), peer))
    }

    /// The holders of the semaphore after the token, in the order of the grants.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    pub fn holders(
        &self,
        id: SemaphoreId,
        after: Option<FencingToken>,
    ) -> Result<impl Iterator<Item = Holder>, Error> {
        let holders = self.semaphore(id)?.holders_after(after);
        Ok(holders.map(move |(token, slot)| self.holder_in(slot, id, token)))
    }

    /// The holder whose lock was granted with this token, if it still holds the lock. O(log n).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    pub fn holder(&self, id: SemaphoreId, token: FencingToken) -> Result<Option<Holder>, Error> {
        let slot = self.semaphore(id)?.holder(token);
        Ok(slot.map(|slot| self.holder_in(slot, id, token)))
    }

    fn holder_in(&self, slot: Slot, id: SemaphoreId, token: FencingToken) -> Holder {
        let peer = self.peers.get(slot);
        let held = peer.held(id).expect("a holder holds the semaphore");
        Holder {
            peer: peer.id,
            count: held.count,
            token,
            held_for: self.now - held.since,
            time_left: self.time_left(peer),
            labels: labels(peer),
        }
    }

    /// The waiters of the semaphore after the ticket, in the order of arrival.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    #[expect(clippy::missing_panics_doc, reason = "the invariant is checked by validate")]
    pub fn waiters(
        &self,
        id: SemaphoreId,
        after: Option<Ticket>,
    ) -> Result<impl Iterator<Item = Waiter>, Error> {
        let waiters = self.semaphore(id)?.waiters_after(after);
        Ok(waiters.map(move |(ticket, waiter)| {
            let peer = self.peers.get(waiter.slot);
            let pending = peer.pending.as_ref().expect("only pending peers wait");
            Waiter {
                peer: peer.id,
                count: pending.count,
                ticket,
                waiting_for: self.now - pending.since,
                parked: matches!(pending.wait, WaitState::Parked(_)),
                time_left: self.time_left(peer),
                labels: labels(peer),
            }
        }))
    }

    fn status(&self, peer: &Peer) -> PeerStatus {
        PeerStatus {
            id: peer.id,
            expires_in: Duration::from_nanos(peer.expires_in),
            time_left: self.time_left(peer),
            labels: labels(peer),
            held: peer.held.iter().map(|lock| self.held_lock(lock)).collect(),
            pending: peer.pending.as_ref().map(|lock| self.pending_lock(lock)),
        }
    }

    fn time_left(&self, peer: &Peer) -> Duration {
        match peer.lease_end() {
            Time::MAX => Duration::from_nanos(peer.expires_in),
            end => end - self.present,
        }
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
            place: None,
        }
    }
}

fn labels(peer: &Peer) -> Labels {
    peer.labels.as_deref().cloned().unwrap_or_default()
}
