//! The peers: what each of them holds and awaits, found by id or by slot.
//!
//! A peer lives in a slot that stays the same as long as it lives, so that queues and deadlines can
//! refer to it in four bytes and reach it without hashing. The slot is reused afterwards.
//!
//! The table knows nothing of semaphores; the order of its hash map is never looked at.

use alloc::boxed::Box;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::{Count, FencingToken, Labels, PeerId, SemaphoreId, Ticket, Time};

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
    pub(crate) wait: Wait,
}

/// How somebody waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// Nobody listens for the answer; the lease runs.
    Unattended,
    /// This many requests are open and listen; the lease stands still.
    Attended(u32),
    /// The last open request broke. The lease runs, and at the instant given the lock is cancelled.
    Parked(Time),
}

/// A client session.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// The length of the lease, in nanoseconds.
    pub(crate) expires_in: u64,
    /// When the lease ends, unless an open request holds it.
    pub(crate) deadline: Time,
    pub(crate) held: SmallVec<[Held; 1]>,
    pub(crate) pending: Option<Pending>,
    pub(crate) labels: Option<Box<Labels>>,
}

impl Peer {
    /// When the lease ends; never, while a request is open.
    pub(crate) fn lease_end(&self) -> Time {
        match self.pending {
            Some(Pending { wait: Wait::Attended(_), .. }) => Time::MAX,
            _ => self.deadline,
        }
    }

    /// When something happens to this peer if nobody does anything.
    pub(crate) fn timeout(&self) -> Time {
        match self.pending {
            Some(Pending { wait: Wait::Parked(until), .. }) => self.deadline.min(until),
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
    by_id: HashMap<PeerId, Slot, FixedState>,
}

impl Peers {
    /// No peers. Clients choose ids when they restore, so an unpredictable `seed` keeps them from
    /// choosing ids that collide in the hash map. It changes no answer.
    pub(crate) fn new(seed: u64) -> Self {
        Self { slots: Slab::new(), by_id: HashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn slot(&self, id: PeerId) -> Option<Slot> {
        self.by_id.get(&id).copied()
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
        let previous = self.by_id.insert(id, slot);
        debug_assert!(previous.is_none(), "two living peers share an id");
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Peer {
        let peer = self.slots.remove(slot.index());
        self.by_id.remove(&peer.id);
        peer
    }

    /// Living peers from the slot at `start` on, in order of their slots.
    pub(crate) fn iter_from(&self, start: usize) -> impl Iterator<Item = (Slot, &Peer)> {
        (start..self.slots.capacity())
            .filter_map(|index| Some((Slot::new(index), self.slots.get(index)?)))
    }
}
