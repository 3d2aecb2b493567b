//! What a peer and a semaphore look like from outside.
//!
//! The core names a semaphore by its [`SemaphoreId`]. An embedder that has names for them converts the
//! same types, so that no other crate repeats their fields.

use alloc::vec::Vec;
use core::time::Duration;

use crate::{Count, FencingToken, Labels, Level, PeerId, SemaphoreId, Ticket};

/// A semaphore in numbers. `N` is the type of its name; the core knows none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SemaphoreStatus<N = ()> {
    /// Which semaphore.
    pub id: SemaphoreId,
    /// What the embedder calls it.
    pub name: N,
    /// Its full count.
    pub max: Count,
    /// Its place in the lock hierarchy.
    pub level: Level,
    /// The level that it gets once it is unused, if that is another one.
    pub next_level: Option<Level>,
    /// Whether it is [retired](crate::Throttle::remove_semaphore): removed, except for its holders.
    pub retired: bool,
    /// Sum of the counts held. May exceed `max` after restores and after `max` was lowered.
    pub held: u64,
    /// Sum of the counts awaited, parked waiters included; at most `u64::MAX`.
    pub pending: u64,
    /// How many peers hold it.
    pub holders: usize,
    /// How many peers wait for it, parked ones included.
    pub waiters: usize,
    /// How long the longest waiting peer has been waiting; zero without waiters.
    pub longest_pending: Duration,
    /// How long the oldest of the held locks has been held; zero without holders.
    pub longest_held: Duration,
}

impl SemaphoreStatus {
    /// The same numbers with a name.
    pub fn named<N>(self, name: N) -> SemaphoreStatus<N> {
        let Self { id, name: (), max, level, held, pending, holders, waiters, .. } = self;
        let Self { next_level, retired, longest_pending, longest_held, .. } = self;
        SemaphoreStatus {
            id,
            name,
            max,
            level,
            next_level,
            retired,
            held,
            pending,
            holders,
            waiters,
            longest_pending,
            longest_held,
        }
    }
}

impl<N> SemaphoreStatus<N> {
    /// `max` minus the sum held. Negative if that exceeds it.
    pub const fn remainder(&self) -> i64 {
        self.max.get().cast_signed() - self.held.cast_signed()
    }
}

/// A peer with the locks it holds and the one it waits for. `S` says which semaphore.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerStatus<S = SemaphoreId> {
    /// Which peer.
    pub id: PeerId,
    /// The length of the lease.
    pub expires_in: Duration,
    /// What is left of the lease. All of it while an open request keeps it from running.
    pub time_left: Duration,
    /// What the peer says about itself.
    pub labels: Labels,
    /// The locks it holds, in the order of the grants.
    pub held: Vec<HeldLock<S>>,
    /// The lock it waits for.
    pub pending: Option<PendingLock<S>>,
}

impl<S> PeerStatus<S> {
    /// The same peer, with each semaphore converted by `name`.
    pub fn map_semaphores<T>(self, mut name: impl FnMut(S) -> T) -> PeerStatus<T> {
        let Self { id, expires_in, time_left, labels, held, pending } = self;
        let held = held.into_iter().map(|lock| lock.map_semaphore(&mut name)).collect();
        let pending = pending.map(|lock| lock.map_semaphore(name));
        PeerStatus { id, expires_in, time_left, labels, held, pending }
    }
}

/// A lock that is held. `S` says of which semaphore.
#[expect(missing_docs, reason = "fields say what, how much and for how long")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldLock<S = SemaphoreId> {
    pub semaphore: S,
    pub count: Count,
    pub token: FencingToken,
    pub held_for: Duration,
}

impl<S> HeldLock<S> {
    /// The same lock, with the semaphore converted by `name`.
    pub fn map_semaphore<T>(self, name: impl FnOnce(S) -> T) -> HeldLock<T> {
        let Self { semaphore, count, token, held_for } = self;
        HeldLock { semaphore: name(semaphore), count, token, held_for }
    }
}

/// A lock that a peer waits for. `S` says of which semaphore.
#[expect(missing_docs, reason = "fields say what, how much and for how long")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PendingLock<S = SemaphoreId> {
    pub semaphore: S,
    pub count: Count,
    pub ticket: Ticket,
    pub waiting_for: Duration,
    /// Whether the waiter is passed over because its connection broke.
    pub parked: bool,
    /// The place in the queue, not counting parked waiters; 1 comes next. Known only of a waiter that is
    /// not parked, and only as far as [`peer_status`](crate::Throttle::peer_status) was asked to count.
    pub place: Option<usize>,
}

impl<S> PendingLock<S> {
    /// The same lock, with the semaphore converted by `name`.
    pub fn map_semaphore<T>(self, name: impl FnOnce(S) -> T) -> PendingLock<T> {
        let Self { semaphore, count, ticket, waiting_for, parked, place } = self;
        PendingLock { semaphore: name(semaphore), count, ticket, waiting_for, parked, place }
    }
}

/// A peer in the list of those that hold a semaphore.
#[expect(missing_docs, reason = "fields say who, how much and for how long")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    pub peer: PeerId,
    pub count: Count,
    pub token: FencingToken,
    pub held_for: Duration,
    /// What is left of the peer's lease. All of it while an open request keeps it from running.
    pub time_left: Duration,
    pub labels: Labels,
}

/// A peer in the list of those that wait for a semaphore.
#[expect(missing_docs, reason = "fields say who, how much and for how long")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiter {
    pub peer: PeerId,
    pub count: Count,
    pub ticket: Ticket,
    pub waiting_for: Duration,
    /// Whether the waiter is passed over because its connection broke.
    pub parked: bool,
    /// What is left of the peer's lease. All of it while an open request keeps it from running.
    pub time_left: Duration,
    pub labels: Labels,
}
