//! Why the state machine says no.

use crate::{Count, Level, Sequence};

/// Why an operation was refused. A refused operation leaves every lock and every queue as it was.
///
/// Only [`Throttle::acquire`](crate::Throttle::acquire) leaves a trace even so: a lease that the
/// request renews stays renewed, for whoever asks is alive.
#[expect(missing_docs, reason = "fields are what the message names")]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The peer waits for a lock already, and a peer waits for at most one.
    #[error("already pending")]
    AlreadyPending,
    /// Zero or less permits were asked for.
    #[error("lock count must be positive: {found}")]
    InvalidLockCount { found: i64 },
    /// More than [`Count::MAX`] permits were asked for, or a restored lock would bring the sum of
    /// what is held of one semaphore beyond [`Count::MAX`].
    #[error("lock count exceeds {}", Count::MAX)]
    LockCountTooLarge,
    /// Locks are taken from high levels to low ones; this order, or growing a lock, could deadlock.
    #[error("lock hierarchy violation: holds level {current}, asks for level {requested}")]
    LockHierarchyViolation { current: Level, requested: Level },
    /// The semaphore has fewer permits than were asked for, so waiting would be in vain.
    #[error("never acquirable: asks for {count} of {max}")]
    NeverAcquirable { count: Count, max: Count },
    /// A living peer has this id. Draw another one.
    #[error("peer exists")]
    PeerExists,
    /// The peer exists with other locks than those it wants restored.
    #[error("restore conflicts with an existing peer")]
    RestoreConflict,
    /// Somebody holds or awaits the semaphore that is to be removed or to change its level.
    #[error("semaphore in use")]
    SemaphoreInUse,
    /// A request of the same peer with a greater number was served already, so the client has given
    /// this one up, or it was overtaken on its way.
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
    /// No such peer; it never existed, was removed, or expired.
    #[error("unknown peer")]
    UnknownPeer,
    /// No such semaphore; it was never added, or was removed.
    #[error("unknown semaphore")]
    UnknownSemaphore,
}

impl Error {
    /// The stable name of this refusal, the only thing that programs may branch on.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AlreadyPending => "already_pending",
            Self::InvalidLockCount { .. } => "invalid_lock_count",
            Self::LockCountTooLarge => "lock_count_too_large",
            Self::LockHierarchyViolation { .. } => "lock_hierarchy_violation",
            Self::NeverAcquirable { .. } => "never_acquirable",
            Self::PeerExists => "peer_exists",
            Self::RestoreConflict => "restore_conflict",
            Self::SemaphoreInUse => "semaphore_in_use",
            Self::StaleRequest { .. } => "stale_request",
            Self::TooManyLabelBytes { .. } => "too_many_label_bytes",
            Self::TooManyPeers { .. } => "too_many_peers",
            Self::TooManyWaiters { .. } => "too_many_waiters",
            Self::UnknownPeer => "unknown_peer",
            Self::UnknownSemaphore => "unknown_semaphore",
        }
    }
}
