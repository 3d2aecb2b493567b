//! Errors as answers: our sentences, their codes, and the two forms of an error. The status of each code is in
//! [`throttle_wire::Code`].

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use throttle_core::{Count, Error as Refused, Sequence};
use throttle_runtime::{Failure, Handle};
use throttle_wire::{Code, PROBLEM_JSON, Problem};

use crate::answer;

/// Why a request was refused: a code for programs and a sentence for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    code: Code,
    detail: Cow<'static, str>,
    /// With [`Code::StaleRequest`]: the peer's highest sequence number so far.
    sequence: Option<Sequence>,
    /// With [`Code::MethodNotAllowed`]: the header `Allow`, unless axum adds it.
    allow: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), sequence: None, allow: None }
    }

    /// Clients in the field compare this sentence literally.
    pub(crate) fn unknown_peer() -> Self {
        Self::new(Code::UnknownPeer, "Unknown peer")
    }

    /// A field or parameter with an unusable value. The sentence names what is expected and what was found.
    pub(crate) fn invalid_field(what: &str, expected: &str, found: &str) -> Self {
        let found = excerpt(found);
        Self::new(Code::InvalidField, format!("{what} must be {expected}. Found: {found}."))
    }

    pub(crate) fn missing_field(field: &str) -> Self {
        Self::new(Code::InvalidField, format!("`{field}` is missing."))
    }

    pub(crate) fn lock_count_too_large() -> Self {
        Self::new(
            Code::LockCountTooLarge,
            format!("A lock count, and the sum of those restored, is at most {}.", Count::MAX),
        )
    }

    /// There is no route for the path.
    pub(crate) fn unknown_route() -> Self {
        Self::new(Code::UnknownRoute, "There is nothing at this path.")
    }

    /// The route has no handler for the method. It takes the methods `allow`; `None` if axum lists them in
    /// the header.
    pub(crate) fn method_not_allowed(allow: Option<&'static str>) -> Self {
        let detail =
            "This path does not take this method. The header `Allow` lists those that it takes.";
        Self { allow, ..Self::new(Code::MethodNotAllowed, detail) }
    }

    pub(crate) fn internal() -> Self {
        Self::new(Code::Internal, "Something went wrong in the server.")
    }

    /// The service behind the routes has failed.
    pub(crate) fn failed(failure: Failure) -> Self {
        match failure {
            Failure::Operation | Failure::Timer => throttle_runtime::Error::Failed.into(),
            Failure::Store => throttle_runtime::Error::StoreFailed.into(),
        }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The response in plain text, or as a problem document, which may tell how long the service `handle` has run.
    pub(crate) fn write(self, as_problem: bool, handle: &Handle) -> Response {
        let status =
            StatusCode::from_u16(self.code.status()).expect("every code has a valid status");
        let mut response = if as_problem {
            let mut problem = Problem::new(self.code, self.detail.into_owned());
            problem.sequence = self.sequence.map(Sequence::get);
            if self.code == Code::UnknownPeer {
                let uptime = whole_millis(handle.uptime());
                let remembers_for = whole_millis(handle.remembers_for());
                problem.uptime = Some(uptime);
                problem.uptime_seconds = Some(uptime.into());
                problem.remembers_for = Some(remembers_for);
                problem.remembers_for_seconds = Some(remembers_for.into());
            }
            let body = serde_json::to_vec(&problem).expect("all keys are strings");
            answer::with(status, PROBLEM_JSON, body.into())
        } else {
            answer::with(status, answer::TEXT, self.detail.into_owned().into())
        };
        if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
            let retry_after = HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, retry_after);
        }
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// Rounded down: a client must not take a peer for removed that this service may have forgotten.
fn whole_millis(time: Duration) -> Duration {
    Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000)
}

/// The handler of an operator's route does not know which form the client reads. So the refusal stays
/// unwritten in the extensions of an empty response, until `observed` writes it.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// When a client should try again if a limit was reached.
const RETRY_AFTER_SECONDS: &str = "1";

impl From<throttle_runtime::Error> for Refusal {
    fn from(error: throttle_runtime::Error) -> Self {
        match error {
            throttle_runtime::Error::Cancelled => Self::new(
                Code::Cancelled,
                "The pending lock was cancelled while the request waited for it.",
            ),
            throttle_runtime::Error::Failed => {
                Self::new(Code::Internal, "The server is broken and is about to end.")
            }
            throttle_runtime::Error::Refused(refused) => refused.into(),
            throttle_runtime::Error::StoreFailed => Self::new(
                Code::StoreFailed,
                "The server can make no change durable any more and is about to end. Try again later.",
            ),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::AlreadyPending => Self::new(
                Code::AlreadyPending,
                "Already pending. One pending lock per peer is allowed, and its count cannot grow.",
            ),
            Refused::InvalidLockCount { found } => Self::new(
                Code::InvalidLockCount,
                format!("Lock count must be a positive number. Found: {found}."),
            ),
            Refused::LockCountTooLarge => Self::lock_count_too_large(),
            Refused::LockHierarchyViolation { current, requested } => Self::new(
                Code::LockHierarchyViolation,
                format!(
                    "Lock hierarchy violation. The peer holds a lock of level {current}, so it can \
                     only ask for locks of lower levels. The requested level is {requested}."
                ),
            ),
            Refused::NeverAcquirable { count, max } => Self::new(
                Code::NeverAcquirable,
                format!(
                    "Lock can never be acquired. Lock asks for count {count} yet full count is \
                     only {max}."
                ),
            ),
            Refused::RestoreConflict => {
                Self::new(Code::RestoreConflict, "Restore is not allowed to change existing peers.")
            }
            Refused::StaleRequest { sequence, latest } => Self {
                sequence: Some(latest),
                ..Self::new(
                    Code::StaleRequest,
                    format!(
                        "Stale request. A request of this peer with the number {latest} came before \
                         this one with the number {sequence}."
                    ),
                )
            },
            Refused::TooManyLabelBytes { limit } => Self::new(
                Code::TooManyLabelBytes,
                format!(
                    "The labels of all peers take {limit} bytes, and no more are allowed. Try again \
                     later, or without labels."
                ),
            ),
            Refused::TooManyPeers { limit } => Self::new(
                Code::TooManyPeers,
                format!("There are {limit} peers, and no more are allowed. Try again later."),
            ),
            Refused::TooManyWaiters { limit } => Self::new(
                Code::TooManyWaiters,
                format!(
                    "There are {limit} peers waiting for this semaphore, and no more are allowed. \
                     Try again later."
                ),
            ),
            Refused::UnknownPeer => Self::unknown_peer(),
            Refused::UnknownSemaphore => Self::new(Code::UnknownSemaphore, "Unknown semaphore"),
            // No route performs the operations that fail so.
            Refused::PeerExists => Self::internal(),
        }
    }
}

/// The beginning of a text that a client sent, long enough to recognise it.
fn excerpt(text: &str) -> Cow<'_, str> {
    const LENGTH: usize = 40;
    match text.char_indices().nth(LENGTH) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use throttle_core::Level;

    use super::*;

    #[test]
    fn a_refusal_of_the_core_keeps_its_code() {
        let level = Level(0);
        let refusals = [
            Refused::AlreadyPending,
            Refused::InvalidLockCount { found: 0 },
            Refused::LockCountTooLarge,
            Refused::LockHierarchyViolation { current: level, requested: level },
            Refused::NeverAcquirable { count: Count::ONE, max: Count::ONE },
            Refused::RestoreConflict,
            Refused::StaleRequest { sequence: Sequence::default(), latest: Sequence::MAX },
            Refused::TooManyLabelBytes { limit: 1 },
            Refused::TooManyPeers { limit: 1 },
            Refused::TooManyWaiters { limit: 1 },
            Refused::UnknownPeer,
            Refused::UnknownSemaphore,
        ];
        for refused in refusals {
            assert_eq!(Refusal::from(refused).code.as_str(), refused.code());
        }
        for error in [
            throttle_runtime::Error::Cancelled,
            throttle_runtime::Error::Failed,
            throttle_runtime::Error::StoreFailed,
        ] {
            assert_eq!(Refusal::from(error).code.as_str(), error.code());
        }
    }

    #[test]
    fn texts_of_clients_are_quoted_up_to_forty_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ü".repeat(1_000)), "ü".repeat(40) + "…");
    }
}
