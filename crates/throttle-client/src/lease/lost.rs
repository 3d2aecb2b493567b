//! Why a peer lost its locks.

use throttle_wire::Code;

/// Why a peer lost its locks before they were released.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// This program closed the peer.
    #[error("the peer was closed")]
    Closed,
    /// The lease ended because this program sent no heartbeat in time: the machine was suspended or
    /// overloaded.
    #[error("the lease expired")]
    Expired,
    /// The server refuses to keep the peer, with this code. For example, `unknown_semaphore` comes from a
    /// server that was restarted without one of the semaphores.
    #[error("the server refused to keep it: {0}")]
    Refused(Code),
    /// Somebody removed the peer at the server. It is not restored, also if the server was restarted since, provided
    /// that its memory survived.
    #[error("somebody removed the peer")]
    Revoked,
    /// The server did not answer until the lease ended.
    #[error("the server was unreachable until the lease ended")]
    Unreachable,
}
