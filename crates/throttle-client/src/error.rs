//! What can go wrong, and what is known then.

use std::time::Duration;

use throttle_wire::Code;

use crate::retry::Failure;

/// Why a request was not done, or why nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the server came about, so it knows nothing of the request.
    #[error("cannot connect to the server")]
    Connect(#[source] reqwest::Error),
    /// No server can be asked for a semaphore of this name by a path: it is empty, `.` or `..`, which
    /// mean something else there. Nothing was sent.
    #[error("a path cannot carry this name of a semaphore: {name:?}")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// What the client was built with is not the URL of a server.
    #[error("not the URL of a server: {reason}")]
    InvalidUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// The server refused, and nothing has changed.
    #[error("refused with {status} {code}: {detail}")]
    Refused {
        /// Why, by the name that programs may branch on.
        code: Code,
        /// The HTTP status.
        status: u16,
        /// Why, in a sentence for people.
        detail: String,
        /// With `unknown_peer`: for how long the server has been running, if it says so.
        uptime: Option<Duration>,
        /// With `stale_request`: the greatest number that a request of the peer had before this one. The
        /// client numbers its requests itself.
        sequence: Option<u64>,
    },
    /// No answer came in time. The server may have done what it was asked for.
    #[error("no answer in time")]
    Timeout(#[source] reqwest::Error),
    /// The connection broke before the whole answer was there, and the server may have done what it
    /// was asked for; or the HTTP library could not make the request at all.
    #[error("the connection failed")]
    Transport(#[source] reqwest::Error),
    /// This is not how Throttle answers. There may be a proxy in between, or the URL leads elsewhere.
    #[error("not an answer of Throttle: status {status}, body {body:?}")]
    UnexpectedAnswer {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
}

impl Error {
    /// The code, if the server refused.
    pub fn code(&self) -> Option<Code> {
        if let Self::Refused { code, .. } = self { Some(*code) } else { None }
    }

    /// Whether it was certainly not done, and would not be done if it was asked for again.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::InvalidName { .. } | Self::InvalidUrl { .. } => true,
            // The next one may come in time.
            Self::Refused { code: Code::StaleRequest, .. } => false,
            // Too many requests are a matter of this moment, as is what goes wrong in the server.
            Self::Refused { status, .. } => (400..=499).contains(status) && *status != 429,
            _ => false,
        }
    }

    /// Sorts an error of the HTTP library by what is known about the request.
    pub(crate) fn of_request(error: reqwest::Error) -> Self {
        // A connection that takes too long to come about is both; that it did not says more.
        if error.is_connect() {
            Self::Connect(error)
        } else if error.is_timeout() {
            Self::Timeout(error)
        } else {
            Self::Transport(error)
        }
    }

    /// What the error means for another attempt; `None` if that would end the same way.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Connect(_) => Some(Failure::Unsent),
            Self::Transport(error) if error.is_builder() || error.is_redirect() => None,
            Self::Timeout(_) | Self::Transport(_) => Some(Failure::Lost),
            _ => None,
        }
    }
}
