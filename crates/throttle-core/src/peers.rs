//! The peers: what each of them holds and awaits, found by id or by slot.
//!
//! A peer lives in a slot that stays the same as long as it lives, so that queues and deadlines can
//! refer to it in four bytes and reach it without hashing. The slot is reused afterwards.
//!
//! The table knows nothing of semaphores; the order of its hash map is never looked at.

use alloc::{boxed::Box, vec::Vec};
use core::iter;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::{Count, FencingToken, Labels, PeerId, SemaphoreId, Sequence, Ticket, Time};

/// Where a living peer is kept.
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

/// How somebody waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WaitState {
    /// Nobody listens for the answer; the lease runs.
    Unattended,
    /// This many requests are open and listen; the lease stands still.
    Attended(u32),
    /// The last open request broke. The lease runs, and at the instant given the lock is cancelled.
    Parked(Time),
}

/// A client session.
///
/// Its fields lie in memory as they stand here: what a heartbeat looks at comes first, in one cache
/// line. The others are in a second one.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// The length of the lease, in nanoseconds.
    pub(crate) expires_in: u64,
    /// When the lease ends, unless an open request holds it.
    pub(crate) deadline: Time,
    /// The greatest number among its requests so far.
    pub(crate) sequence: Sequence,
    pub(crate) pending: Option<Pending>,
    pub(crate) held: SmallVec<[Held; 1]>,
    pub(crate) labels: Option<Box<Labels>>,
}

impl Peer {
    /// When the lease ends; never, while a request is open.
    pub(crate) fn lease_end(&self) -> Time {
        match self.pending {
            Some(Pending { wait: WaitState::Attended(_), .. }) => Time::MAX,
            _ => self.deadline,
        }
    }

    /// When something happens to this peer if nobody does anything.
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

/// All living peers.
#[derive(Debug)]
pub(crate) struct Peers {
    slots: Slab<Peer>,
    /// A bit for each slot: whether somebody lives there. So a list passes over 64 empty slots in one
    /// step, and is fast also when a million peers have come and gone.
    living: Vec<u64>,
    by_id: HashMap<PeerId, Slot, FixedState>,
}

impl Peers {
    /// No peers. Clients choose ids when they restore, so an unpredictable `seed` keeps them from
    /// choosing ids that collide in the hash map. It changes no answer.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: Slab::new(),
            living: Vec::new(),
            by_id: HashMap::with_hasher(FixedState::with_seed(seed)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of ids that are known: that of the peers, while nobody is yet to be forgotten.
    pub(crate) fn ids_len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn slot(&self, id: PeerId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// Whether somebody lives in `slot`. Looks at one bit.
    pub(crate) fn lives(&self, slot: Slot) -> bool {
        is_set(&self.living, slot)
    }

    pub(crate) fn get(&self, slot: Slot) -> &Peer {
        &self.slots[slot.index()]
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Peer {
        &mut self.slots[slot.index()]
    }

    /// Adds `peer`, whose id must be new.
    pub(crate) fn insert(&mut self, peer: Peer) -> Slot {
        let id = peer.id;
        let slot = Slot::new(self.slots.insert(peer));
        let (word, bit) = place(slot);
        if self.living.len() <= word {
            self.living.resize(word + 1, 0);
        }
        self.living[word] |= bit;
        let previous = self.by_id.insert(id, slot);
        debug_assert!(previous.is_none(), "two living peers share an id");
        slot
    }

    /// Removes the peer in `slot`, whose id is to be [forgotten](Self::forget) before anybody asks.
    pub(crate) fn remove(&mut self, slot: Slot) -> Peer {
        let (word, bit) = place(slot);
        self.living[word] &= !bit;
        self.slots.remove(slot.index())
    }

    /// Forgets the ids of those among `peers` who were removed.
    ///
    /// Costs O(1) for each of a few; if they are many, O(1) for each place of the table.
    pub(crate) fn forget(&mut self, peers: &[(PeerId, Slot)]) {
        if self.slots.is_empty() && self.slots.capacity() > SPARE_SLOTS {
            // After a crowd has gone its room is given back.
            let hasher = self.by_id.hasher().clone();
            self.slots = Slab::new();
            self.living = Vec::new();
            self.by_id = HashMap::with_hasher(hasher);
            return;
        }
        let living = &self.living;
        // A walk takes all places of the table, which does not shrink.
        if peers.len() > 1 && self.by_id.capacity() / peers.len() < WORTH_A_WALK {
            self.by_id.retain(|_, &mut slot| is_set(living, slot));
            return;
        }
        for (id, _) in peers.iter().filter(|&&(_, slot)| !is_set(living, slot)) {
            self.by_id.remove(id);
        }
    }

    /// Living peers from the slot at `start` on, in order of their slots.
    pub(crate) fn iter_from(&self, start: usize) -> impl Iterator<Item = (Slot, &Peer)> {
        let words = self.living.iter().enumerate().skip(start / 64);
        let slots = words.flat_map(|(word, &living)| bits(living).map(move |bit| word * 64 + bit));
        let slots = slots.skip_while(move |&index| index < start).map(Slot::new);
        slots.map(|slot| (slot, self.get(slot)))
    }
}

/// The word in which a slot has its bit, and that bit.
fn place(slot: Slot) -> (usize, u64) {
    (slot.index() / 64, 1 << (slot.index() % 64))
}

/// Whether the bit of a slot is set.
fn is_set(bits: &[u64], slot: Slot) -> bool {
    let (word, bit) = place(slot);
    bits[word] & bit != 0
}

/// The positions of the bits that are set, from the lowest on.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    let rest = |&word: &u64| Some(word & (word - 1)).filter(|&rest| rest != 0);
    let words = iter::successors(Some(word).filter(|&word| word != 0), rest);
    words.map(|word| word.trailing_zeros() as usize)
}

/// Room for so many peers is kept when all have gone: about 150 kB.
const SPARE_SLOTS: usize = 1_024;

/// To look up an id takes as long as to walk past this many. Measured; it need not be exact.
const WORTH_A_WALK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_begins_anywhere_and_leaves_out_who_is_gone() {
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
    fn ids_of_removed_peers_are_forgotten_be_they_many_or_few() {
        for step in [1, 2, 12, 13, 14, 90, 200] {
            let mut peers = Peers::new(0);
            let all: Vec<_> =
                (1..=200).map(|id| (PeerId::new(id).unwrap(), peers.insert(peer(id)))).collect();
            let named: Vec<_> = all.iter().copied().step_by(step).collect();
            // One of those who are named stays.
            for &(_, slot) in named.iter().skip(1) {
                peers.remove(slot);
            }
            peers.forget(&named);
            for (id, slot) in all {
                let lives = slot == named[0].1 || !named.contains(&(id, slot));
                assert_eq!(peers.slot(id), lives.then_some(slot), "every {step}. left");
                assert_eq!(peers.lives(slot), lives, "every {step}. left");
            }
        }
    }

    #[test]
    fn when_the_last_of_many_peers_has_gone_their_room_is_given_back() {
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
            assert!(peers.slots.capacity() + peers.by_id.capacity() + peers.living.capacity() == 0);
        }
    }

    fn peer(id: u64) -> Peer {
        let id = PeerId::new(id).unwrap();
        let (held, deadline, sequence) = (SmallVec::new(), Time::ZERO, Sequence::default());
        Peer { id, expires_in: 0, deadline, sequence, held, pending: None, labels: None }
    }
}
