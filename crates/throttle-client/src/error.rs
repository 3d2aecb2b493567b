//! What can go wrong, and what is known then.

use std::{fmt, time::Duration};

use throttle_wire::Code;

use crate::{Endpoint, retry::Failure};

/// Why a request was not done, or why nobody knows whether it was.
///
/// Whatever comes from the network names the [`Endpoint`] that was asked. The causes below it, such as
/// `Connection refused`, are reached by [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection to the server came about, so it knows nothing of the request.
    #[error("cannot connect to {endpoint}")]
    #[non_exhaustive]
    Connect {
        /// What was to be connected to.
        endpoint: Endpoint,
        /// Why it could not.
        source: Cause,
    },
    /// No server can be asked for a semaphore of this name by a path: it is empty, `.` or `..`, which
    /// mean something else there. Nothing was sent.
    #[error("a path cannot carry this name of a semaphore: {name:?}")]
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The request cannot be expressed in HTTP; for instance its URL is too long. Nothing was sent.
    #[error("this request cannot be made, perhaps because its URL is too long")]
    #[non_exhaustive]
    InvalidRequest {
        /// What the HTTP library has against it.
        source: Cause,
    },
    /// The client cannot be built with a setting, such as a header or a certificate.
    #[error("{setting} cannot be used: {reason}")]
    #[non_exhaustive]
    InvalidSetting {
        /// Which one.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What the client was to be built with is not the URL of a server.
    #[error("{url:?} is not the URL of a server: {reason}")]
    #[non_exhaustive]
    InvalidUrl {
        /// The URL, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refused, and nothing has changed.
    #[error("refused with {status} {code}: {detail}")]
    #[non_exhaustive]
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
        /// How long to wait before the next attempt, if the server says so.
        retry_after: Option<Duration>,
    },
    /// No answer came in time. The server may have done what it was asked for.
    #[error("no answer in time from {endpoint}")]
    #[non_exhaustive]
    Timeout {
        /// What did not answer.
        endpoint: Endpoint,
        /// What the HTTP library says.
        source: Cause,
    },
    /// The connection broke before the whole answer was there. The server may have done what it was
    /// asked for.
    #[error("the connection to {endpoint} failed")]
    #[non_exhaustive]
    Transport {
        /// What was connected to.
        endpoint: Endpoint,
        /// How the connection broke.
        source: Cause,
    },
    /// This is not how Throttle answers. There may be a proxy in between, or the URL leads elsewhere.
    #[error(
        "not an answer of Throttle: status {status} from {endpoint}{}, body {body:?}",
        leads_to(location.as_deref())
    )]
    #[non_exhaustive]
    UnexpectedAnswer {
        /// What was asked.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
        /// Where a redirect leads that was not followed. If Throttle is there, that is the URL to use.
        location: Option<String>,
        /// The beginning of the body.
        body: String,
        /// How long to wait before the next attempt, if the answer says so.
        retry_after: Option<Duration>,
    },
}

/// What lies behind an [`Error`].
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error of the HTTP library, without the layers of it that say no more than that a request failed.
#[derive(Debug)]
struct HttpCause(reqwest::Error);

impl HttpCause {
    /// The first layer that tells something.
    fn told(&self) -> &(dyn std::error::Error + 'static) {
        let mut told: &(dyn std::error::Error + 'static) = &self.0;
        while told.is::<reqwest::Error>() || told.is::<hyper_util::client::legacy::Error>() {
            let Some(source) = told.source() else { break };
            told = source;
        }
        told
    }
}

impl fmt::Display for HttpCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.told(), f)?;
        #[cfg(feature = "tls")]
        if crate::tls::is_no_tls(self.told()) {
            f.write_str("; the answer is no TLS, so `http` may be right")?;
        }
        Ok(())
    }
}

impl std::error::Error for HttpCause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.told().source()
    }
}

impl Error {
    /// The code, if the server refused.
    pub fn code(&self) -> Option<Code> {
        if let Self::Refused { code, .. } = self { Some(*code) } else { None }
    }

    /// How long to wait before the next attempt, if the answer says so (`Retry-After`, in seconds).
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::UnexpectedAnswer { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// Whether the request was certainly not done, and the same request would be refused again.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::InvalidName { .. }
            | Self::InvalidRequest { .. }
            | Self::InvalidSetting { .. }
            | Self::InvalidUrl { .. } => true,
            // The next one may come in time.
            Self::Refused { code: Code::StaleRequest, .. } => false,
            // Too many requests are a matter of this moment, as is what goes wrong in the server.
            Self::Refused { status, .. } => (400..=499).contains(status) && *status != 429,
            _ => false,
        }
    }

    /// A request that the HTTP library cannot make.
    pub(crate) fn unmakeable(error: reqwest::Error) -> Self {
        Self::InvalidRequest { source: HttpCause(error.without_url()).into() }
    }

    /// Sorts an error of the HTTP library by what is known about the request.
    pub(crate) fn of_request(error: reqwest::Error, endpoint: &Endpoint) -> Self {
        let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
        let cannot_be_made = error.is_builder() || error.is_redirect();
        // The endpoint names the URL, and without what may be secret.
        let (endpoint, source) = (endpoint.clone(), HttpCause(error.without_url()).into());
        // A connection that takes too long to come about is both; that it did not says more.
        if is_connect {
            Self::Connect { endpoint, source }
        } else if is_timeout {
            Self::Timeout { endpoint, source }
        } else if cannot_be_made {
            Self::InvalidRequest { source }
        } else {
            Self::Transport { endpoint, source }
        }
    }

    /// What the error means for another attempt; `None` if that would end the same way.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match *self {
            Self::Connect { .. } => Some(Failure::NotSent),
            Self::Timeout { .. } | Self::Transport { .. } => Some(Failure::MaybeExecuted),
            Self::Refused { status: 429 | 503, retry_after, .. }
            | Self::UnexpectedAnswer { status: 429 | 503, retry_after, .. } => {
                Some(Failure::Busy { retry_after })
            }
            Self::UnexpectedAnswer { status, .. } => {
                (!is_final(status)).then_some(Failure::MaybeExecuted)
            }
            Self::InvalidName { .. }
            | Self::InvalidRequest { .. }
            | Self::InvalidSetting { .. }
            | Self::InvalidUrl { .. }
            | Self::Refused { .. } => None,
        }
    }
}

/// Whether a status that does not come from Throttle will be the answer to the next attempt as well: the
/// URL leads elsewhere, somebody in between asks for credentials, or what was sent is too large for them.
/// Anything else may be over soon, such as the 404 of a proxy that has lost sight of the server.
fn is_final(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403 | 407 | 413 | 414 | 431)
}

fn leads_to(location: Option<&str>) -> String {
    location.map_or_else(String::new, |location| format!(", which leads to {location:?}"))
}
