//! Reads answers of the server, and sorts them into results, refusals and unexpected answers.
//!
//! The client asks for errors as problem documents. Servers of version 0.5 answer with sentences instead;
//! those that their clients depend on are recognised. Any other answer does not come from Throttle, but from
//! a proxy or another server.

use std::time::Duration;

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use throttle_wire::{Code, PROBLEM_JSON, Problem, Readiness};

use crate::{Endpoint, Error};

/// How the error sentences of version 0.5 begin.
const SENTENCES: &[(&str, Code)] = &[
    ("Already pending.", Code::AlreadyPending),
    ("Lock can never be acquired.", Code::NeverAcquirable),
    ("Lock count must be a positive number.", Code::InvalidLockCount),
    // Version 0.5 misspells it like this.
    ("Lock hierachy violation.", Code::LockHierarchyViolation),
    ("Lock hierarchy violation.", Code::LockHierarchyViolation),
    ("Restore is not allowed to change existing peers.", Code::RestoreConflict),
    ("Unknown peer", Code::UnknownPeer),
    ("Unknown semaphore", Code::UnknownSemaphore),
];

/// The length of the excerpt of an unexpected body, in characters.
const EXCERPT_LENGTH: usize = 200;

/// How much of an error is read, in bytes. All refusals of Throttle are shorter.
const LONGEST_REFUSAL: usize = 1 << 16;

/// A complete answer with the status 200 or 202.
#[derive(Debug)]
pub(crate) struct Answer {
    endpoint: Endpoint,
    status: StatusCode,
    /// The target of a redirect.
    location: Option<String>,
    /// The media type without parameters such as a character set.
    media_type: String,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Answer {
    /// Reads an answer completely. An answer with another status than 200 or 202 is returned as an error.
    pub(crate) async fn read(mut response: Response, endpoint: &Endpoint) -> Result<Self, Error> {
        let status = response.status();
        let is_success = matches!(status, StatusCode::OK | StatusCode::ACCEPTED);
        let mut body = Vec::new();
        // The rest of a long page of another server is not worth reading.
        while is_success || body.len() < LONGEST_REFUSAL {
            let chunk = response.chunk().await;
            match chunk.map_err(|error| Error::of_request(error, endpoint))? {
                Some(chunk) => body.extend_from_slice(&chunk),
                None => break,
            }
        }
        let headers = response.headers();
        let answer = Self {
            endpoint: endpoint.clone(),
            status,
            location: location(headers),
            media_type: media_type(headers),
            retry_after: retry_after(headers),
            body,
        };
        if is_success { Ok(answer) } else { Err(answer.refusal()) }
    }

    /// Whether the requested lock is pending.
    pub(crate) fn is_pending(&self) -> bool {
        self.status == StatusCode::ACCEPTED
    }

    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| self.unexpected())
    }

    /// The body as plain text.
    pub(crate) fn text(&self) -> Result<String, Error> {
        let is_plain = matches!(&*self.media_type.to_ascii_lowercase(), "" | "text/plain");
        if is_plain { self.raw_text() } else { Err(self.unexpected()) }
    }

    /// The body as it is, unless it is an HTML page: no route of Throttle answers one to a client that asks
    /// for problem documents.
    pub(crate) fn raw_text(&self) -> Result<String, Error> {
        match str::from_utf8(&self.body) {
            Ok(text) if !text.is_empty() && !self.media_type.eq_ignore_ascii_case("text/html") => {
                Ok(text.to_owned())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// The body as the readiness of a server. Plain text, of a server that does not write JSON here, says only that
    /// it is ready.
    pub(crate) fn readiness(&self) -> Result<Readiness, Error> {
        if self.media_type.eq_ignore_ascii_case("application/json") {
            return self.json();
        }
        if !self.text()?.starts_with("Ready") {
            return Err(self.unexpected());
        }
        Ok(Readiness { ready: true, grace_left: None, grace_left_seconds: None, durable: false })
    }

    /// Fails unless the body is exactly `body`.
    pub(crate) fn expect_body(&self, body: &str) -> Result<(), Error> {
        if self.body == body.as_bytes() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(crate) fn unexpected(&self) -> Error {
        Error::UnexpectedAnswer {
            endpoint: self.endpoint.clone(),
            status: self.status.as_u16(),
            location: self.location.clone(),
            body: String::from_utf8_lossy(&self.body).chars().take(EXCERPT_LENGTH).collect(),
            retry_after: self.retry_after,
        }
    }

    fn refusal(&self) -> Error {
        let (status, retry_after) = (self.status.as_u16(), self.retry_after);
        if self.media_type.eq_ignore_ascii_case(PROBLEM_JSON) {
            return match self.json::<Problem>() {
                Ok(Problem { code, detail, uptime, remembers_for, sequence, .. }) => {
                    // While it runs, a server forgets nothing. So a wall clock that was set back, by which the
                    // age of a store is measured, does not make the memory shorter than this.
                    let remembers_for = remembers_for.max(uptime);
                    Error::Refused { code, status, detail, remembers_for, sequence, retry_after }
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
                let (detail, remembers_for, sequence) = (text.into_owned(), None, None);
                Error::Refused { code, status, detail, remembers_for, sequence, retry_after }
            }
            None => self.unexpected(),
        }
    }
}

fn location(headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?;
    Some(String::from_utf8_lossy(location.as_bytes()).chars().take(EXCERPT_LENGTH).collect())
}

/// `Retry-After` in seconds. A date is ignored, because comparing it needs a clock that is right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn media_type(headers: &HeaderMap) -> String {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().to_owned()
}
