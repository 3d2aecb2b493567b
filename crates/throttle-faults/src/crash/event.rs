//! The requests and answers that a history consists of, free of HTTP.

use std::time::Duration;

/// A request about one peer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the HTTP interface")]
pub enum Request {
    /// `POST /new_peer`
    NewPeer { lease: Duration },
    /// `PUT /peers/{peer}`
    Heartbeat { peer: u64, lease: Duration },
    /// `PUT /peers/{peer}/{semaphore}`
    Acquire {
        peer: u64,
        semaphore: &'static str,
        count: u64,
        lease: Option<Duration>,
        block_for: Option<Duration>,
        sequence: Option<u64>,
    },
    /// `DELETE /peers/{peer}/{semaphore}`
    Release { peer: u64, semaphore: &'static str, sequence: Option<u64> },
    /// `DELETE /peers/{peer}`
    Remove { peer: u64, sequence: Option<u64> },
    /// `POST /restore` without locks
    Restore { peer: u64, lease: Duration, sequence: Option<u64> },
    /// `GET /peers/{peer}`
    Inspect { peer: u64 },
    /// `GET /semaphores/{semaphore}/fencing/{token}` with a token that was granted to the peer
    IsHeld { peer: u64, semaphore: &'static str, token: u64 },
}

/// An answer of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the HTTP interface")]
pub enum Answer {
    /// A peer was created.
    Created { peer: u64 },
    /// A heartbeat, a release or a restore was served.
    Done,
    /// The lock is held. In expected answers, the token may be unknown.
    Held { count: u64, token: Option<u64> },
    /// The lock is pending.
    Pending { count: u64 },
    /// The peer is removed. Tells whether it existed.
    Removed { existed: bool },
    /// The peer with its locks.
    Peer { held: Vec<Lock>, pending: Option<Lock> },
    /// The request is refused, with this code.
    Refused { code: String },
}

/// A lock in an answer.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the fields are those of the HTTP interface")]
pub struct Lock {
    pub semaphore: String,
    pub count: u64,
    pub token: Option<u64>,
}

/// A semaphore of the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the configuration")]
pub struct Semaphore {
    pub name: &'static str,
    pub max: u64,
    pub level: i32,
}

impl Request {
    /// The peer; `None` if it is still to be created.
    pub const fn peer(&self) -> Option<u64> {
        match self {
            Self::NewPeer { .. } => None,
            Self::Heartbeat { peer, .. }
            | Self::Acquire { peer, .. }
            | Self::Release { peer, .. }
            | Self::Remove { peer, .. }
            | Self::Restore { peer, .. }
            | Self::IsHeld { peer, .. }
            | Self::Inspect { peer } => Some(*peer),
        }
    }
}

impl Answer {
    /// A refusal with this code.
    pub fn refused(code: &str) -> Self {
        Self::Refused { code: code.to_owned() }
    }
}
