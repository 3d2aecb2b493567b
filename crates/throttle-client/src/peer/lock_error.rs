//! Why a lock was not granted.

use std::{sync::Arc, time::Duration};

use throttle_wire::Code;

use crate::{Error, Lost};

/// Why a lock was not granted.
///
/// Every variant names the semaphore and the server. `server` is the URL of the client without a password;
/// several URLs are separated by commas. The message does not include the cause, which is the
/// [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The peer already holds this semaphore. There is only one [`Lock`](crate::Lock) for it.
    #[error("the peer holds {semaphore:?} of {server} already")]
    #[non_exhaustive]
    AlreadyHeld {
        /// The semaphore.
        semaphore: String,
        /// The server.
        server: Arc<str>,
    },
    /// The request was refused, either by the server or before it was sent, or the answer did not come from
    /// Throttle. Repeating the request would end the same way.
    #[error("no lock on {semaphore:?} of {server}")]
    #[non_exhaustive]
    Failed {
        /// The semaphore.
        semaphore: String,
        /// The server.
        server: Arc<str>,
        /// The cause.
        source: Error,
    },
    /// The peer was lost with all its held and pending locks.
    #[error("no lock on {semaphore:?} of {server}: {lost}")]
    #[non_exhaustive]
    Lost {
        /// The semaphore.
        semaphore: String,
        /// The server.
        server: Arc<str>,
        /// Why the peer was lost.
        lost: Lost,
    },
    /// The server answered, and the lock was not free in time. The request was withdrawn.
    #[error("{semaphore:?} of {server} was not free{}", within(*wait_at_most))]
    #[non_exhaustive]
    NotInTime {
        /// The semaphore.
        semaphore: String,
        /// The server.
        server: Arc<str>,
        /// The limit that the caller had set.
        wait_at_most: Duration,
    },
    /// The time is over, and the last request got no answer.
    #[error("no lock on {semaphore:?}, for {server} did not answer")]
    #[non_exhaustive]
    Unreachable {
        /// The semaphore.
        semaphore: String,
        /// The server.
        server: Arc<str>,
        /// Why the last attempt failed.
        source: Error,
    },
}

impl LockError {
    /// The code of the server's refusal, if it refused.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Failed { source, .. } | Self::Unreachable { source, .. } => source.code(),
            Self::Lost { lost: Lost::Refused(code), .. } => Some(*code),
            _ => None,
        }
    }

    /// The name of the semaphore.
    pub fn semaphore(&self) -> &str {
        match self {
            Self::AlreadyHeld { semaphore, .. }
            | Self::Failed { semaphore, .. }
            | Self::Lost { semaphore, .. }
            | Self::NotInTime { semaphore, .. }
            | Self::Unreachable { semaphore, .. } => semaphore,
        }
    }
}

fn within(wait_at_most: Duration) -> String {
    if wait_at_most.is_zero() {
        return String::new();
    }
    format!(" within {}", humantime::format_duration(wait_at_most))
}

/// Why there is no peer that could ask for a lock.
#[derive(Debug)]
pub(super) enum PeerError {
    Error(Error),
    Lost(Lost),
}

impl From<Error> for PeerError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Lost> for PeerError {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// The semaphore and the server that an error names.
#[derive(Clone, Debug)]
pub(super) struct ErrorContext {
    pub(super) semaphore: String,
    pub(super) server: Arc<str>,
}

impl ErrorContext {
    pub(super) fn already_held(self) -> LockError {
        let Self { semaphore, server } = self;
        LockError::AlreadyHeld { semaphore, server }
    }

    pub(super) fn failed(self, source: Error) -> LockError {
        let Self { semaphore, server } = self;
        LockError::Failed { semaphore, server, source }
    }

    pub(super) fn lost(self, lost: Lost) -> LockError {
        let Self { semaphore, server } = self;
        LockError::Lost { semaphore, server, lost }
    }

    pub(super) fn not_in_time(self, wait_at_most: Duration) -> LockError {
        let Self { semaphore, server } = self;
        LockError::NotInTime { semaphore, server, wait_at_most }
    }

    pub(super) fn unreachable(self, source: Error) -> LockError {
        let Self { semaphore, server } = self;
        LockError::Unreachable { semaphore, server, source }
    }
}
