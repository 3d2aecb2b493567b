//! Why a peer lost its locks.

use throttle_wire::Code;

/// Why locks were lost that had not been released.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// This program closed the peer.
    #[error("the peer was closed")]
    Closed,
    /// The lease ended, for this program did not get to show a sign of life in time: the machine was
    /// suspended, or overloaded.
    #[error("the lease expired")]
    Expired,
    /// The server does not let the peer go on, for the reason this code says. A server that was
    /// started again without the semaphore answers `unknown_semaphore`.
    #[error("the server refused to keep it: {0}")]
    Refused(Code),
    /// Somebody removed the peer at the server.
    #[error("somebody removed the peer")]
    Revoked,
    /// The server did not answer until the lease ended.
    #[error("the server was unreachable until the lease ended")]
    Unreachable,
}
