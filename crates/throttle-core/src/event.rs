//! Events: what happened, as facts. Wake-ups, metrics, logs and durability consume the same ones.

use alloc::boxed::Box;
use core::time::Duration;

use crate::{Count, FencingToken, Labels, Level, PeerId, SemaphoreId};

/// One thing that happened. Events come in the order in which things happened.
///
/// An operation emits events for what it did itself and for what followed from it. When a peer leaves,
/// the order is: its locks are released or cancelled, then the peer is gone, then the grants that this
/// made possible. Peers that expire at the same instant do so in the order of their ids.
#[expect(missing_docs, reason = "most fields say who, what and how much")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A pending lock is gone without a grant.
    Cancelled {
        peer: PeerId,
        semaphore: SemaphoreId,
        count: Count,
        /// How long the peer had been waiting.
        waited: Duration,
        cause: CancelCause,
    },
    /// The peer's deadline passed. It holds nothing and waits for nothing now.
    Expired {
        peer: PeerId,
        /// How many locks it held. Their `Released` events came before.
        locks: u32,
        /// The labels it had.
        labels: Option<Box<Labels>>,
    },
    /// A lock became held: at once, after waiting, or by a restore.
    Granted {
        peer: PeerId,
        semaphore: SemaphoreId,
        count: Count,
        token: FencingToken,
        /// How long the lock was pending: zero if it was granted at once, `None` if it was restored.
        waited: Option<Duration>,
    },
    /// A heartbeat, a lock request or a repeated restore gave the lease of the peer another length.
    LeaseChanged { peer: PeerId },
    /// A semaphore became unused, and got the level that was [deferred](crate::Throttle::set_level) until then.
    LevelChanged { semaphore: SemaphoreId, level: Level },
    /// The connection of a waiting peer broke. It is passed over until it asks again.
    Parked { peer: PeerId, semaphore: SemaphoreId },
    /// A peer was created.
    PeerCreated { peer: PeerId },
    /// A lock became pending.
    Queued { peer: PeerId, semaphore: SemaphoreId, count: Count },
    /// A held lock is free again.
    Released {
        peer: PeerId,
        semaphore: SemaphoreId,
        count: Count,
        token: FencingToken,
        /// How long it was held.
        held: Duration,
    },
    /// The peer was removed on request. It holds nothing and waits for nothing now.
    Removed {
        peer: PeerId,
        /// How many locks it held. Their `Released` events came before.
        locks: u32,
        /// The labels it had.
        labels: Option<Box<Labels>>,
    },
    /// A parked waiter asked again and has its old place back.
    Resumed { peer: PeerId, semaphore: SemaphoreId },
    /// A peer came back under the id it had. A `Granted` event follows for each of its locks.
    Restored { peer: PeerId },
    /// The maximum of a semaphore changed.
    Resized { semaphore: SemaphoreId, from: Count, to: Count },
    /// The last holder of a [retired](crate::Throttle::remove_semaphore) semaphore is gone, and so is it.
    SemaphoreRemoved { semaphore: SemaphoreId },
    /// The count of a lock, held or pending, became smaller.
    Shrunk { peer: PeerId, semaphore: SemaphoreId, from: Count, to: Count },
}

/// Why a pending lock was cancelled.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CancelCause {
    /// The connection broke, and the peer did not ask again in time.
    Abandoned,
    /// The maximum was lowered below the count, so it could never be granted.
    NeverAcquirable {
        /// The count asked for.
        count: Count,
        /// The new maximum.
        max: Count,
    },
    /// The peer expired or was removed.
    PeerGone,
    /// The semaphore was [retired](crate::Throttle::remove_semaphore).
    SemaphoreRetired,
    /// The peer released the lock while it was pending.
    Withdrawn,
}
