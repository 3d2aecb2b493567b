//! What the server answered, and what it means.
//!
//! Errors come as problem documents, for that is what the client asks for. Servers of version 0.5
//! know only sentences; those that their clients rely on are recognised. Whatever is neither is no
//! answer of Throttle: a proxy may be talking, or a server of something else.

use std::time::Duration;

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use throttle_wire::{Code, PROBLEM_JSON, Problem};

use crate::{
    Error,
    retry::{Failure, Setback},
};

/// How the sentences of a server without problem documents begin.
const SENTENCES: &[(&str, Code)] = &[
    ("Already pending.", Code::AlreadyPending),
    ("Lock can never be acquired.", Code::NeverAcquirable),
    ("Lock count must be a positive number.", Code::InvalidLockCount),
    // Version 0.5 spells it so.
    ("Lock hierachy violation.", Code::LockHierarchyViolation),
    ("Lock hierarchy violation.", Code::LockHierarchyViolation),
    ("Restore is not allowed to change existing peers.", Code::RestoreConflict),
    ("Unknown peer", Code::UnknownPeer),
    ("Unknown semaphore", Code::UnknownSemaphore),
];

/// How much of a body is shown that nobody understands, in characters.
const EXCERPT: usize = 200;

/// A whole answer that promises success: its status is 200 or 202.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    /// Reads the answer to its end, and sorts out what is no success.
    pub(crate) async fn read(response: Response) -> Result<Self, Setback<Error>> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body =
            response.bytes().await.map_err(|error| Setback::from(Error::of_request(error)))?;
        let answer = Self { status, body: body.into() };
        if matches!(status, StatusCode::OK | StatusCode::ACCEPTED) {
            return Ok(answer);
        }
        Err(Setback { failure: failure(status, &headers), error: answer.refusal(&headers) })
    }

    /// Whether what was asked for has to be waited for.
    pub(crate) fn is_pending(&self) -> bool {
        self.status == StatusCode::ACCEPTED
    }

    /// The body as JSON of a certain form.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| self.unexpected())
    }

    /// The body as plain text.
    pub(crate) fn text(self) -> Result<String, Error> {
        let unexpected = self.unexpected();
        String::from_utf8(self.body).map_err(|_| unexpected)
    }

    /// Nothing, if the body is what it has to be.
    pub(crate) fn must_be(&self, body: &str) -> Result<(), Error> {
        if self.body == body.as_bytes() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(crate) fn unexpected(&self) -> Error {
        let body = String::from_utf8_lossy(&self.body).chars().take(EXCERPT).collect();
        Error::UnexpectedAnswer { status: self.status.as_u16(), body }
    }

    fn refusal(&self, headers: &HeaderMap) -> Error {
        let status = self.status.as_u16();
        if is_problem(headers) {
            return match self.json::<Problem>() {
                Ok(Problem { code, detail, uptime, sequence, .. }) => {
                    Error::Refused { code, status, detail, uptime, sequence }
                }
                Err(unexpected) => unexpected,
            };
        }
        let text = String::from_utf8_lossy(&self.body);
        let means = |&&(sentence, code): &&(&str, Code)| {
            code.status() == status && text.starts_with(sentence)
        };
        match SENTENCES.iter().find(means) {
            Some(&(_, code)) => {
                let (detail, uptime, sequence) = (text.into_owned(), None, None);
                Error::Refused { code, status, detail, uptime, sequence }
            }
            None => self.unexpected(),
        }
    }
}

/// What a status other than success means for another attempt.
fn failure(status: StatusCode, headers: &HeaderMap) -> Option<Failure> {
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            Some(Failure::Busy { retry_after: retry_after(headers) })
        }
        // A proxy says so, which may have passed the request on.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Some(Failure::Lost),
        _ => None,
    }
}

/// `Retry-After` in seconds. As a date it would have to be compared with a clock that may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn is_problem(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(PROBLEM_JSON)
}

impl From<Error> for Setback<Error> {
    fn from(error: Error) -> Self {
        Self { failure: error.failure(), error }
    }
}
