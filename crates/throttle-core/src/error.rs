//! The reasons for which the state machine refuses an operation.

use crate::{Count, Level, Sequence};

/// Why an operation was refused. A refused operation leaves every lock and every queue as it was.
///
/// It may leave two traces. A [sequence number](crate::Sequence) that was accepted counts, and a lease
/// that [`Throttle::acquire`](crate::Throttle::acquire) renewed stays renewed: the request proves that
/// the peer is alive.
#[expect(missing_docs, reason = "fields are what the message names")]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The peer already waits for a lock; it may wait for one at a time.
    #[error("already pending")]
    AlreadyPending,
    /// Zero or less permits were asked for.
    #[error("lock count must be positive: {found}")]
    InvalidLockCount { found: i64 },
    /// More than [`Count::MAX`] permits were asked for, or a restored lock would raise the sum held of
    /// one semaphore above [`Count::MAX`].
    #[error("lock count exceeds {}", Count::MAX)]
    LockCountTooLarge,
    /// Locks are taken from high levels to low ones; this order, or growing a lock, could deadlock.
    #[error("lock hierarchy violation: holds level {current}, asks for level {requested}")]
    LockHierarchyViolation { current: Level, requested: Level },
    /// The count exceeds the maximum of the semaphore, so it could never be granted.
    #[error("never acquirable: asks for {count} of {max}")]
    NeverAcquirable { count: Count, max: Count },
    /// The id is taken. Draw another one.
    #[error("peer exists")]
    PeerExists,
    /// The peer exists, but with other locks than those to restore.
    #[error("restore conflicts with an existing peer")]
    RestoreConflict,
    /// A request of the same peer with a higher number came before. The client has given this one up,
    /// or a later one has overtaken it.
    #[error("stale request: {sequence} comes after {latest}")]
    StaleRequest { sequence: Sequence, latest: Sequence },
    /// The labels of all peers would take more memory than
    /// [`Settings::max_label_bytes`](crate::Settings::max_label_bytes) allows.
    #[error("too many bytes of labels: {limit}")]
    TooManyLabelBytes { limit: u64 },
    /// There are as many peers as [`Settings::max_peers`](crate::Settings::max_peers) allows.
    #[error("too many peers: {limit}")]
    TooManyPeers { limit: u32 },
    /// As many peers wait for the semaphore as
    /// [`Settings::max_waiters`](crate::Settings::max_waiters) allows.
    #[error("too many waiters: {limit}")]
    TooManyWaiters { limit: u32 },
    /// No such peer: it never existed, was removed, or expired.
    #[error("unknown peer")]
    UnknownPeer,
    /// No such semaphore: it was never added, or was removed, or is
    /// [retired](crate::Throttle::remove_semaphore).
    #[error("unknown semaphore")]
    UnknownSemaphore,
}

impl Error {
    /// The stable name of this refusal. Programs branch on it, never on the message.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AlreadyPending => "already_pending",
            Self::InvalidLockCount { .. } => "invalid_lock_count",
            Self::LockCountTooLarge => "lock_count_too_large",
            Self::LockHierarchyViolation { .. } => "lock_hierarchy_violation",
            Self::NeverAcquirable { .. } => "never_acquirable",
            Self::PeerExists => "peer_exists",
            Self::RestoreConflict => "restore_conflict",
            Self::StaleRequest { .. } => "stale_request",
            Self::TooManyLabelBytes { .. } => "too_many_label_bytes",
            Self::TooManyPeers { .. } => "too_many_peers",
            Self::TooManyWaiters { .. } => "too_many_waiters",
            Self::UnknownPeer => "unknown_peer",
            Self::UnknownSemaphore => "unknown_semaphore",
        }
    }
}
