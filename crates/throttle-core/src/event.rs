//! What happened, as facts. Waking, metrics, logs and durability all consume the same ones.

use alloc::boxed::Box;
use core::time::Duration;

use crate::{Count, FencingToken, Labels, PeerId, SemaphoreId};

/// One thing that happened, in the order in which things happened.
///
/// An operation announces what it did itself as well as what followed from it. When a peer leaves,
/// its locks are announced as released and cancelled before the peer is announced as gone, and all
/// of that before the grants that it made possible. Peers that leave at the same instant do so in the
/// order of their ids.
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
    /// The peer's deadline passed; it holds nothing and waits for nothing any more.
    Expired {
        peer: PeerId,
        /// How many locks it held. They are announced as released before.
        locks: u32,
        /// What it said about itself.
        labels: Option<Box<Labels>>,
    },
    /// A lock became held: at once, after waiting, or again through a restore.
    Granted {
        peer: PeerId,
        semaphore: SemaphoreId,
        count: Count,
        token: FencingToken,
        /// How long the lock was pending; zero if it was granted at once, `None` if it was restored.
        waited: Option<Duration>,
    },
    /// The connection of a waiting peer broke; it is passed over until it asks again.
    Parked { peer: PeerId, semaphore: SemaphoreId },
    /// A peer came into being.
    PeerCreated { peer: PeerId },
    /// A lock became pending.
    Queued { peer: PeerId, semaphore: SemaphoreId, count: Count },
    /// A held lock is gone.
    Released {
        peer: PeerId,
        semaphore: SemaphoreId,
        count: Count,
        token: FencingToken,
        /// How long it was held.
        held: Duration,
    },
    /// The peer was removed on request; it holds nothing and waits for nothing any more.
    Removed {
        peer: PeerId,
        /// How many locks it held. They are announced as released before.
        locks: u32,
        /// What it said about itself.
        labels: Option<Box<Labels>>,
    },
    /// A parked waiter asked again and stands where it stood.
    Resumed { peer: PeerId, semaphore: SemaphoreId },
    /// A peer came back under the id it had. Its locks are announced as granted.
    Restored { peer: PeerId },
    /// The maximum of a semaphore changed.
    Resized { semaphore: SemaphoreId, from: Count, to: Count },
    /// A lock, held or pending, now has a smaller count.
    Shrunk { peer: PeerId, semaphore: SemaphoreId, from: Count, to: Count },
}

/// Why a pending lock was given up.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CancelCause {
    /// The connection broke, and the peer did not ask again in time.
    Abandoned,
    /// The maximum was lowered below the count, so it could never be granted.
    NeverAcquirable {
        /// What was asked for.
        count: Count,
        /// The new maximum.
        max: Count,
    },
    /// The peer expired or was removed.
    PeerGone,
    /// The peer asked for it.
    Withdrawn,
}
