//! Operations that create, restore and remove peers. A heartbeat, which keeps one alive, is in `lease`.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::time::Duration;

use super::Throttle;
use crate::{
    CancelCause, Count, Error, Event, Labels, PeerId, SemaphoreId, Sequence, Time,
    peers::{Peer, Slot},
    semaphore::EntryKey,
    time::nanos,
};

/// The attributes that a peer is created with. A lease alone is the plain form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewPeer {
    /// The length of the lease.
    pub expires_in: Duration,
    /// What it says about itself.
    pub labels: Labels,
}

impl From<Duration> for NewPeer {
    fn from(expires_in: Duration) -> Self {
        Self { expires_in, labels: Labels::default() }
    }
}

/// A peer that comes back with the locks it holds. `S` identifies a semaphore.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restoration<S = SemaphoreId> {
    /// The id it had.
    pub peer: PeerId,
    /// The length of its lease from now on.
    pub expires_in: Duration,
    /// The locks it holds, all of them.
    pub locks: BTreeMap<S, Count>,
    /// What it says about itself.
    pub labels: Labels,
    /// The sequence number, if the client numbers its requests.
    pub sequence: Option<Sequence>,
}

impl Throttle {
    /// Creates a peer without locks. O(log n).
    ///
    /// # Errors
    ///
    /// - [`Error::PeerExists`] if the id is taken.
    /// - [`Error::TooManyPeers`], [`Error::TooManyLabelBytes`]: a limit of
    ///   [`Settings`](crate::Settings) is reached.
    pub fn new_peer(
        &mut self,
        now: Time,
        peer: PeerId,
        attributes: impl Into<NewPeer>,
    ) -> Result<(), Error> {
        self.advance(now);
        let NewPeer { expires_in, labels } = attributes.into();
        if self.peers.slot(peer).is_some() {
            return Err(Error::PeerExists);
        }
        self.check_room_for_a_peer(&labels)?;
        self.admit(peer, expires_in, labels);
        self.events.push_back(Event::PeerCreated { peer });
        Ok(())
    }

    /// Removes a peer with all its locks, held and pending, and serves the queues.
    ///
    /// Returns whether the peer existed. O(log n) for each lock and each grant that follows.
    ///
    /// A removal is never stale. Afterwards a restore fails if its number is below `sequence`, or below
    /// the highest number of the peer's requests. The numbers of absent peers are remembered for ten
    /// minutes: of a million peers that existed, and of 65,536 that never did as far as is known. The
    /// oldest ones are forgotten first.
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
        let mut entries = Vec::new();
        let (locks, labels) = self.evict(slot, &mut entries);
        self.peers.forget(&[(peer, slot)]);
        self.events.push_back(Event::Removed { peer, locks, labels });
        self.vacate(entries);
        true
    }

    /// Creates a peer under the id it had, with exactly these locks. They may exceed a maximum, because
    /// the peer already uses the resource. Each lock gets a new fencing token.
    ///
    /// If the peer exists, holds exactly these locks and waits for none, its lease is renewed.
    /// O(log n) for each lock.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownSemaphore`] if any of the semaphores is unknown.
    /// - [`Error::StaleRequest`] if a request of the peer with a higher number came before, even if the
    ///   peer is [absent](Self::remove_peer) now.
    /// - [`Error::RestoreConflict`] if the peer exists with other locks, or waits.
    /// - [`Error::LockCountTooLarge`] if the sum held of a semaphore would exceed [`Count::MAX`].
    /// - [`Error::TooManyPeers`], [`Error::TooManyLabelBytes`]: a limit of
    ///   [`Settings`](crate::Settings) is reached.
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
        self.check_room_for_a_peer(&labels)?;
        let slot = self.admit(id, expires_in, labels);
        self.peers.get_mut(slot).sequence = sequence.unwrap_or_default();
        self.events.push_back(Event::Restored { peer: id });
        for (semaphore, count) in locks {
            self.grant(slot, semaphore, count, None);
        }
        Ok(())
    }

    fn check_room_for_a_peer(&self, labels: &Labels) -> Result<(), Error> {
        let limit = self.settings.max_peers;
        if self.peers.len() >= limit as usize {
            return Err(Error::TooManyPeers { limit });
        }
        // A peer without labels is accepted even if a reload has lowered the limit below the present sum.
        let limit = self.settings.max_label_bytes;
        if !labels.is_empty() && self.label_bytes.saturating_add(labels.bytes()) > limit {
            return Err(Error::TooManyLabelBytes { limit });
        }
        Ok(())
    }

    /// Adds a peer without locks. The caller emits the event.
    fn admit(&mut self, id: PeerId, expires_in: Duration, labels: Labels) -> Slot {
        self.label_bytes += labels.bytes();
        let deadline = self.present + expires_in;
        let slot = self.peers.insert(Peer {
            id,
            expires_in: nanos(expires_in),
            deadline,
            sequence: Sequence::default(),
            held: smallvec::SmallVec::new(),
            pending: None,
            labels: (!labels.is_empty()).then(|| Box::new(labels)),
        });
        self.deadlines.insert(slot, deadline);
        slot
    }

    /// Removes a peer with its locks. Its deadline must already be removed; its entries at semaphores are
    /// appended to `entries`, which must be [vacated](Self::vacate) before anything else happens.
    ///
    /// Returns how many locks it held, and its labels.
    pub(super) fn evict(
        &mut self,
        slot: Slot,
        entries: &mut Vec<(SemaphoreId, EntryKey)>,
    ) -> (u32, Option<Box<Labels>>) {
        let Peer { id, sequence, held, pending, labels, .. } = self.peers.remove(slot);
        self.label_bytes -= bytes_of(labels.as_deref());
        if sequence > Sequence::default() {
            self.absent.record_former(id, sequence, self.now);
        }
        let locks = u32::try_from(held.len()).expect("there are fewer semaphores than 2^32");
        for lock in held {
            entries.push((lock.semaphore, EntryKey::Holder(lock.token)));
            self.semaphore_mut(lock.semaphore).subtract_held(lock.count);
            self.events.push_back(Event::Released {
                peer: id,
                semaphore: lock.semaphore,
                count: lock.count,
                token: lock.token,
                held: self.now - lock.since,
            });
        }
        if let Some(pending) = pending {
            entries.push((pending.semaphore, EntryKey::Waiter(pending.ticket)));
            self.semaphore_mut(pending.semaphore).subtract_pending(pending.count);
            self.emit_cancelled(id, pending, CancelCause::PeerGone);
        }
        (locks, labels)
    }

    /// Removes the entries of evicted peers from their semaphores, then serves each of the queues once,
    /// in the order of the semaphores' ids. Returns the number of grants.
    pub(super) fn vacate(&mut self, mut entries: Vec<(SemaphoreId, EntryKey)>) -> usize {
        entries.sort_unstable_by_key(|&(semaphore, _)| semaphore);
        let by_semaphore = || entries.chunk_by(|(one, _), (other, _)| one == other);
        for entries in by_semaphore() {
            let semaphore = self.semaphores[entries[0].0.index()].as_mut();
            let semaphore = semaphore.expect("a semaphore in use is not removed");
            let keys = entries.iter().map(|&(_, key)| key);
            semaphore.remove_entries(keys, |slot| self.peers.is_occupied(slot));
        }
        by_semaphore().map(|entries| self.serve(entries[0].0)).sum()
    }
}

fn holds_exactly(peer: &Peer, locks: &BTreeMap<SemaphoreId, Count>) -> bool {
    peer.pending.is_none()
        && peer.held.len() == locks.len()
        && peer.held.iter().all(|lock| locks.get(&lock.semaphore) == Some(&lock.count))
}

pub(super) fn bytes_of(labels: Option<&Labels>) -> u64 {
    labels.map_or(0, Labels::bytes)
}
