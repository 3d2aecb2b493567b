//! Peers come, stay alive, go, and come back.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::time::Duration;

use super::Throttle;
use crate::{
    Count, Error, Event, Labels, PeerId, SemaphoreId, Sequence, Time,
    peers::{Peer, Slot},
    time::nanos,
};

/// A peer that comes back with what it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restoration {
    /// The id it had.
    pub peer: PeerId,
    /// The length of its lease from now on.
    pub expires_in: Duration,
    /// All it holds.
    pub locks: BTreeMap<SemaphoreId, Count>,
    /// What it says about itself.
    pub labels: Option<Box<Labels>>,
    /// The number of the request, if the client numbers them.
    pub sequence: Option<Sequence>,
}

impl Throttle {
    /// Creates a peer without locks, whose lease lasts `expires_in`. O(log n).
    ///
    /// # Errors
    ///
    /// - [`Error::PeerExists`] if a living peer has this id.
    /// - [`Error::TooManyPeers`], [`Error::TooManyLabelBytes`] if there are as many as
    ///   [`Settings`](crate::Settings) allows.
    pub fn new_peer(
        &mut self,
        now: Time,
        peer: PeerId,
        expires_in: Duration,
        labels: Option<Box<Labels>>,
    ) -> Result<(), Error> {
        self.advance(now);
        if self.peers.slot(peer).is_some() {
            return Err(Error::PeerExists);
        }
        self.check_room_for_a_peer(labels.as_deref())?;
        self.admit(peer, expires_in, labels);
        self.events.push_back(Event::PeerCreated { peer });
        Ok(())
    }

    /// Sets the lease of a peer to `expires_in` and lets it begin anew. O(1) unless it gets shorter.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPeer`]
    pub fn heartbeat(
        &mut self,
        now: Time,
        peer: PeerId,
        expires_in: Duration,
    ) -> Result<(), Error> {
        self.advance(now);
        let slot = self.slot(peer)?;
        self.renew_with(slot, expires_in);
        Ok(())
    }

    /// Removes a peer with all its locks, held and pending, and serves the queues it leaves.
    ///
    /// Returns whether there was such a peer. O(log n) for each lock and each grant that follows.
    ///
    /// From then on no request with a number below `sequence`, or below the highest that the peer's
    /// requests had, restores the peer. A removal is never stale. The numbers of absent peers are
    /// remembered for ten minutes: of a million peers that existed, and of 65,536 that never did as far
    /// as is known. The oldest are forgotten first.
    pub fn remove_peer(&mut self, now: Time, peer: PeerId, sequence: Option<Sequence>) -> bool {
        self.advance(now);
        let Some(slot) = self.peers.slot(peer) else {
            if let Some(sequence) = sequence {
                self.absent.record_unknown(peer, sequence, self.now);
            }
            return false;
        };
        if let Some(sequence) = sequence {
            let entry = self.peers.get_mut(slot);
            entry.sequence = entry.sequence.max(sequence);
        }
        self.deadlines.remove(slot);
        let mut vacated = Vec::new();
        let (locks, labels) = self.evict(slot, &mut vacated);
        self.peers.forget(&[(peer, slot)]);
        self.events.push_back(Event::Removed { peer, locks, labels });
        self.clear(vacated);
        true
    }

    /// Creates a peer under the id it had, holding exactly the locks it names, even above a maximum:
    /// it is using the resource already. Each lock gets a new fencing token.
    ///
    /// If the peer lives, holds exactly these locks and waits for none, its lease is renewed.
    /// O(log n) for each lock.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownSemaphore`] if any of the semaphores is unknown.
    /// - [`Error::StaleRequest`] if a request of the peer with a higher number came before, also if the
    ///   peer is [absent](Self::remove_peer).
    /// - [`Error::RestoreConflict`] if the peer lives with other locks, or waits.
    /// - [`Error::LockCountTooLarge`] if the sum held of a semaphore would exceed [`Count::MAX`].
    /// - [`Error::TooManyPeers`], [`Error::TooManyLabelBytes`] if there are as many as
    ///   [`Settings`](crate::Settings) allows.
    pub fn restore(&mut self, now: Time, restoration: Restoration) -> Result<(), Error> {
        self.advance(now);
        let Restoration { peer: id, expires_in, locks, labels, sequence } = restoration;
        for &semaphore in locks.keys() {
            self.semaphore(semaphore)?;
        }
        self.check_sequence(id, sequence)?;
        if let Some(slot) = self.peers.slot(id) {
            if !holds_exactly(self.peers.get(slot), &locks) {
                return Err(Error::RestoreConflict);
            }
            self.renew_with(slot, expires_in);
            let peer = self.peers.get_mut(slot);
            peer.sequence = sequence.unwrap_or(peer.sequence);
            return Ok(());
        }
        for (&semaphore, count) in &locks {
            if self.semaphore(semaphore)?.held() + count.get() > Count::MAX.get() {
                return Err(Error::LockCountTooLarge);
            }
        }
        self.check_room_for_a_peer(labels.as_deref())?;
        let slot = self.admit(id, expires_in, labels);
        self.peers.get_mut(slot).sequence = sequence.unwrap_or_default();
        self.events.push_back(Event::Restored { peer: id });
        for (semaphore, count) in locks {
            self.grant(slot, semaphore, count, None);
        }
        Ok(())
    }

    /// Sets the length of a lease and lets it begin anew.
    ///
    /// The deadlines have an entry for the peer that is not later than its timeout was. It need not be
    /// looked at, two cache lines away, unless the timeout comes nearer.
    pub(super) fn renew_with(&mut self, slot: Slot, expires_in: Duration) {
        let peer = self.peers.get_mut(slot);
        let before = peer.timeout();
        peer.expires_in = nanos(expires_in);
        peer.deadline = self.present + expires_in;
        if peer.timeout() < before {
            self.schedule(slot);
        }
    }

    fn check_room_for_a_peer(&self, labels: Option<&Labels>) -> Result<(), Error> {
        let limit = self.settings.max_peers;
        if self.peers.len() >= limit as usize {
            return Err(Error::TooManyPeers { limit });
        }
        // Who brings no labels is welcome also where others have too many.
        let limit = self.settings.max_label_bytes;
        if labels.is_some_and(|labels| self.label_bytes.saturating_add(labels.bytes()) > limit) {
            return Err(Error::TooManyLabelBytes { limit });
        }
        Ok(())
    }
}

fn holds_exactly(peer: &Peer, locks: &BTreeMap<SemaphoreId, Count>) -> bool {
    peer.pending.is_none()
        && peer.held.len() == locks.len()
        && peer.held.iter().all(|lock| locks.get(&lock.semaphore) == Some(&lock.count))
}
