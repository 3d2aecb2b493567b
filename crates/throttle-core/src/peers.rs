//! The table of peers with their locks, by id and by slot.
//!
//! A peer keeps its slot until it is removed; then the slot is reused. Queues and deadlines refer to a
//! peer by its slot, which takes four bytes and is found without hashing.
//!
//! The table knows nothing about semaphores. Nothing depends on the order of its hash map.

use alloc::{boxed::Box, vec::Vec};
use core::iter;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::{Count, FencingToken, Labels, PeerId, SemaphoreId, Sequence, Ticket, Time};

/// The position of a peer in the table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("Settings::max_peers keeps slots in 32 bits"))
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A lock that a peer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) semaphore: SemaphoreId,
    pub(crate) count: Count,
    pub(crate) token: FencingToken,
    pub(crate) since: Time,
}

/// A lock that a peer waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) semaphore: SemaphoreId,
    pub(crate) count: Count,
    pub(crate) ticket: Ticket,
    pub(crate) since: Time,
    pub(crate) wait: WaitState,
}

/// Whether open requests wait for a pending lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WaitState {
    /// No request is open. The lease runs.
    Unattended,
    /// This many requests are open, at least one. The lease stands still.
    Attended(u32),
    /// The connection of the last open request broke. The lease runs, and at this instant the lock is
    /// cancelled.
    Parked(Time),
}

/// A peer with its lease and its locks.
///
/// The fields lie in memory in this order. A heartbeat reads only the first cache line.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// The length of the lease, in nanoseconds.
    pub(crate) expires_in: u64,
    /// When the lease ends, unless an open request holds it.
    pub(crate) deadline: Time,
    /// The highest number of its requests so far.
    pub(crate) sequence: Sequence,
    pub(crate) pending: Option<Pending>,
    pub(crate) held: SmallVec<[Held; 1]>,
    pub(crate) labels: Option<Box<Labels>>,
}

impl Peer {
    /// When the lease ends: never while a request is open.
    pub(crate) fn lease_end(&self) -> Time {
        match self.pending {
            Some(Pending { wait: WaitState::Attended(_), .. }) => Time::MAX,
            _ => self.deadline,
        }
    }

    /// When the peer expires or its parked lock is cancelled, whichever is first.
    pub(crate) fn timeout(&self) -> Time {
        match self.pending {
            Some(Pending { wait: WaitState::Parked(until), .. }) => self.deadline.min(until),
            _ => self.lease_end(),
        }
    }

    /// The lock it holds on `semaphore`.
    pub(crate) fn held(&self, semaphore: SemaphoreId) -> Option<&Held> {
        self.held.iter().find(|lock| lock.semaphore == semaphore)
    }
}

/// All peers.
#[derive(Debug)]
pub(crate) struct Peers {
    slots: Slab<Peer>,
    /// A bit for each slot: whether a peer is in it. A listing skips 64 empty slots in one step, so it is
    /// fast even after a million peers have come and gone.
    occupied: Vec<u64>,
    by_id: HashMap<PeerId, Slot, FixedState>,
}

impl Peers {
    /// An empty table. Clients choose their ids when they restore; a secret `seed` keeps them from
    /// choosing ids that collide in the hash map. It changes no answer.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: Slab::new(),
            occupied: Vec::new(),
            by_id: HashMap::with_hasher(FixedState::with_seed(seed)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of known ids. Equals `len` unless removed peers are still to be forgotten.
    pub(crate) fn ids_len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn slot(&self, id: PeerId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// Whether a peer is in `slot`. Reads one bit.
    pub(crate) fn is_occupied(&self, slot: Slot) -> bool {
        is_set(&self.occupied, slot)
    }

    pub(crate) fn get(&self, slot: Slot) -> &Peer {
        &self.slots[slot.index()]
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Peer {
        &mut self.slots[slot.index()]
    }

    /// Adds `peer`. No other peer may have its id.
    pub(crate) fn insert(&mut self, peer: Peer) -> Slot {
        let id = peer.id;
        let slot = Slot::new(self.slots.insert(peer));
        let (word, bit) = bit_of(slot);
        if self.occupied.len() <= word {
            self.occupied.resize(word + 1, 0);
        }
        self.occupied[word] |= bit;
        let previous = self.by_id.insert(id, slot);
        debug_assert!(previous.is_none(), "two peers share an id");
        slot
    }

    /// Removes the peer in `slot`. Its id must be [forgotten](Self::forget) before the next lookup by id.
    pub(crate) fn remove(&mut self, slot: Slot) -> Peer {
        let (word, bit) = bit_of(slot);
        self.occupied[word] &= !bit;
        self.slots.remove(slot.index())
    }

    /// Forgets the ids of `peers`, except for those that were not removed.
    ///
    /// For a few peers O(1) each; for many, one pass over the hash map.
    pub(crate) fn forget(&mut self, peers: &[(PeerId, Slot)]) {
        if self.slots.is_empty() && self.slots.capacity() > SPARE_SLOTS {
            let hasher = self.by_id.hasher().clone();
            self.slots = Slab::new();
            self.occupied = Vec::new();
            self.by_id = HashMap::with_hasher(hasher);
            return;
        }
        let occupied = &self.occupied;
        // A pass visits the whole capacity, because the hash map never shrinks.
        if peers.len() > 1 && self.by_id.capacity() / peers.len() < STEPS_PER_LOOKUP {
            self.by_id.retain(|_, &mut slot| is_set(occupied, slot));
            return;
        }
        for (id, _) in peers.iter().filter(|&&(_, slot)| !is_set(occupied, slot)) {
            self.by_id.remove(id);
        }
    }

    /// The peers from the slot at `start` on, in the order of their slots.
    pub(crate) fn iter_from(&self, start: usize) -> impl Iterator<Item = (Slot, &Peer)> {
        let words = self.occupied.iter().enumerate().skip(start / 64);
        let slots = words.flat_map(|(word, &bits)| set_bits(bits).map(move |bit| word * 64 + bit));
        let slots = slots.skip_while(move |&index| index < start).map(Slot::new);
        slots.map(|slot| (slot, self.get(slot)))
    }
}

/// The index of the word that has the bit of a slot, and that bit alone.
fn bit_of(slot: Slot) -> (usize, u64) {
    (slot.index() / 64, 1 << (slot.index() % 64))
}

/// Whether the bit of a slot is set.
fn is_set(bits: &[u64], slot: Slot) -> bool {
    let (word, bit) = bit_of(slot);
    bits[word] & bit != 0
}

/// The positions of the set bits, lowest first.
fn set_bits(word: u64) -> impl Iterator<Item = usize> {
    let rest = |&word: &u64| Some(word & (word - 1)).filter(|&rest| rest != 0);
    let words = iter::successors(Some(word).filter(|&word| word != 0), rest);
    words.map(|word| word.trailing_zeros() as usize)
}

/// The table keeps this capacity when it becomes empty: about 150 kB.
const SPARE_SLOTS: usize = 1_024;

/// How many entries a pass visits in the time of one lookup. Measured; it need not be exact.
const STEPS_PER_LOOKUP: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_starts_at_any_slot_and_skips_removed_peers() {
        let mut peers = Peers::new(0);
        let slots: Vec<_> = (1..=200).map(|id| peers.insert(peer(id))).collect();
        for &slot in slots.iter().filter(|slot| slot.index() % 3 > 0) {
            peers.remove(slot);
        }
        for start in [0, 1, 63, 64, 65, 130, 197, 198, 199, 200, 5_000] {
            let listed: Vec<_> = peers.iter_from(start).map(|(slot, _)| slot.index()).collect();
            let expected: Vec<_> = (start..200).filter(|index| index % 3 == 0).collect();
            assert_eq!(listed, expected, "from {start}");
        }
    }

    #[test]
    fn ids_of_few_and_of_many_removed_peers_are_forgotten() {
        for step in [1, 2, 12, 13, 14, 90, 200] {
            let mut peers = Peers::new(0);
            let all: Vec<_> =
                (1..=200).map(|id| (PeerId::new(id).unwrap(), peers.insert(peer(id)))).collect();
            let named: Vec<_> = all.iter().copied().step_by(step).collect();
            // The first of the named peers is not removed.
            for &(_, slot) in named.iter().skip(1) {
                peers.remove(slot);
            }
            peers.forget(&named);
            for (id, slot) in all {
                let stays = slot == named[0].1 || !named.contains(&(id, slot));
                assert_eq!(peers.slot(id), stays.then_some(slot), "every {step}th was removed");
                assert_eq!(peers.is_occupied(slot), stays, "every {step}th was removed");
            }
        }
    }

    #[test]
    fn memory_is_freed_when_the_last_of_many_peers_is_removed() {
        let mut peers = Peers::new(7);
        for round in 0..2 {
            let all: Vec<_> =
                (1..=5_000).map(|id| (PeerId::new(id).unwrap(), peers.insert(peer(id)))).collect();
            assert_eq!(peers.slot(all[9].0), Some(all[9].1), "round {round}");
            for &(_, slot) in &all {
                peers.remove(slot);
            }
            peers.forget(&all);
            assert_eq!((peers.len(), peers.ids_len()), (0, 0));
            assert_eq!(peers.iter_from(0).count(), 0);
            assert!(
                peers.slots.capacity() + peers.by_id.capacity() + peers.occupied.capacity() == 0
            );
        }
    }

    fn peer(id: u64) -> Peer {
        let id = PeerId::new(id).unwrap();
        let (held, deadline, sequence) = (SmallVec::new(), Time::ZERO, Sequence::default());
        Peer { id, expires_in: 0, deadline, sequence, held, pending: None, labels: None }
    }
}
