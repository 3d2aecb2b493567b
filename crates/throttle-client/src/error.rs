//! Errors of requests, and what is known about the request then.

use std::{fmt, time::Duration};

use throttle_wire::Code;

use crate::Endpoint;

/// Why a request failed.
///
/// Errors of the network name the [`Endpoint`]. Their cause, such as `Connection refused`, is the
/// [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There was no connection to the server, so it did not receive the request.
    #[error("cannot connect to {endpoint}")]
    #[non_exhaustive]
    Connect {
        /// The endpoint that was not reached.
        endpoint: Endpoint,
        /// Why it was not reached.
        source: Cause,
    },
    /// The name of a semaphore cannot be part of a path: it is empty, `.` or `..`, which have another meaning
    /// in paths. Nothing was sent.
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
        /// The reason of the HTTP library.
        source: Cause,
    },
    /// The client cannot be built with a setting, such as a header or a certificate.
    #[error("{setting} cannot be used: {reason}")]
    #[non_exhaustive]
    InvalidSetting {
        /// The setting.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client cannot be built with this URL.
    #[error("{url:?} is not the URL of a server: {reason}")]
    #[non_exhaustive]
    InvalidUrl {
        /// The URL, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refused, and nothing has changed. Only after `store_failed` it is unknown whether something has:
    /// the server could not make the change durable, and finds out when it starts again.
    #[error("refused with {status} {code}: {detail}")]
    #[non_exhaustive]
    Refused {
        /// The reason, by the stable name that programs may branch on.
        code: Code,
        /// The HTTP status.
        status: u16,
        /// The reason, as a sentence for people.
        detail: String,
        /// With `unknown_peer`: for how long the server has known every peer, if it reports that. A server with a
        /// durable memory counts from before its restarts, any other from its start. A peer that was confirmed
        /// since then was removed or has expired; one that was confirmed before may be forgotten.
        remembers_for: Option<Duration>,
        /// With `stale_request`: the highest sequence number of the peer's earlier requests. The client
        /// numbers its requests itself.
        sequence: Option<u64>,
        /// How long to wait before the next attempt, if the server says so.
        retry_after: Option<Duration>,
    },
    /// No answer came in time. The server may have executed the request.
    #[error("no answer in time from {endpoint}")]
    #[non_exhaustive]
    Timeout {
        /// The endpoint that did not answer.
        endpoint: Endpoint,
        /// The error of the HTTP library.
        source: Cause,
    },
    /// The connection broke before the answer was complete. The server may have executed the request.
    #[error("the connection to {endpoint} failed")]
    #[non_exhaustive]
    Transport {
        /// The other end of the connection.
        endpoint: Endpoint,
        /// How the connection broke.
        source: Cause,
    },
    /// The answer does not come from Throttle. There may be a proxy on the way, or the URL belongs to another
    /// server.
    #[error(
        "not an answer of Throttle: status {status} from {endpoint}{}, body {body:?}",
        leads_to(location.as_deref())
    )]
    #[non_exhaustive]
    UnexpectedAnswer {
        /// The endpoint that was asked.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
        /// The target of a redirect that was not followed. If Throttle is there, use that URL.
        location: Option<String>,
        /// The beginning of the body.
        body: String,
        /// How long to wait before the next attempt, if the answer says so.
        retry_after: Option<Duration>,
    },
}

/// The source of an [`Error`].
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error of the HTTP library without its outer layers, which only say that a request failed.
#[derive(Debug)]
struct HttpCause(reqwest::Error);

impl HttpCause {
    /// The first layer that names a cause.
    fn cause(&self) -> &(dyn std::error::Error + 'static) {
        let mut cause: &(dyn std::error::Error + 'static) = &self.0;
        while cause.is::<reqwest::Error>() || cause.is::<hyper_util::client::legacy::Error>() {
            let Some(source) = cause.source() else { break };
            cause = source;
        }
        cause
    }
}

impl fmt::Display for HttpCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.cause(), f)?;
        #[cfg(feature = "tls")]
        if crate::tls::is_no_tls(self.cause()) {
            f.write_str("; the answer is no TLS, so `http` may be right")?;
        }
        Ok(())
    }
}

impl std::error::Error for HttpCause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause().source()
    }
}

impl Error {
    /// The code of the server's refusal, if it refused.
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

    /// Whether the request was certainly not executed, and would be refused again.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::InvalidName { .. }
            | Self::InvalidRequest { .. }
            | Self::InvalidSetting { .. }
            | Self::InvalidUrl { .. } => true,
            // The next attempt may come in time.
            Self::Refused { code: Code::StaleRequest, .. } => false,
            // Overload and internal errors of the server may be over soon.
            Self::Refused { status, .. } => (400..=499).contains(status) && *status != 429,
            _ => false,
        }
    }

    /// The error for a request that the HTTP library cannot make.
    pub(crate) fn unmakeable(error: reqwest::Error) -> Self {
        Self::InvalidRequest { source: HttpCause(error.without_url()).into() }
    }

    /// Sorts an error of the HTTP library by what it tells about the request.
    pub(crate) fn of_request(error: reqwest::Error, endpoint: &Endpoint) -> Self {
        let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
        let cannot_be_made = error.is_builder() || error.is_redirect();
        // The endpoint already names the URL, without credentials.
        let (endpoint, source) = (endpoint.clone(), HttpCause(error.without_url()).into());
        // A timeout while connecting is both; the missing connection says more.
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
}

fn leads_to(location: Option<&str>) -> String {
    location.map_or_else(String::new, |location| format!(", which leads to {location:?}"))
}
