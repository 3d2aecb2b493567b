//! The end of a peer, by removal or expiry: what it held and awaited is taken from it, and queues are served.

use alloc::{boxed::Box, vec::Vec};

use super::Throttle;
use crate::{
    CancelCause, Event, Labels, PeerId, SemaphoreId, Sequence, Time,
    peers::{Peer, Slot},
    semaphore::EntryKey,
};

impl Throttle {
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

    /// Removes the entries of evicted peers from their semaphores, then serves each of the queues once, then
    /// carries out what was deferred, in the order of the semaphores' ids. Returns the number of grants.
    pub(super) fn vacate(&mut self, mut entries: Vec<(SemaphoreId, EntryKey)>) -> usize {
        entries.sort_unstable_by_key(|&(semaphore, _)| semaphore);
        let by_semaphore = || entries.chunk_by(|(one, _), (other, _)| one == other);
        let mut is_deferred = false;
        for entries in by_semaphore() {
            let semaphore = self.semaphores[entries[0].0.index()].as_mut();
            let semaphore = semaphore.expect("a semaphore in use is not removed");
            let keys = entries.iter().map(|&(_, key)| key);
            semaphore.remove_entries(keys, |slot| self.peers.is_occupied(slot));
            is_deferred |= semaphore.deferred().is_some();
        }
        let grants = by_semaphore().map(|entries| self.serve(entries[0].0)).sum();
        if is_deferred {
            by_semaphore().for_each(|entries| self.carry_out_deferred(entries[0].0));
        }
        grants
    }
}

pub(super) fn bytes_of(labels: Option<&Labels>) -> u64 {
    labels.map_or(0, Labels::bytes)
}
