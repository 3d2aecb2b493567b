//! What the server answered, and what it means.
//!
//! Errors come as problem documents, for that is what the client asks for. Servers of version 0.5
//! know only sentences; those that their clients rely on are recognised. Whatever is neither is no
//! answer of Throttle: a proxy may be talking, or a server of something else.

use std::time::Duration;

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use throttle_wire::{Code, PROBLEM_JSON, Problem};

use crate::{Endpoint, Error};

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
const EXCERPT_LENGTH: usize = 200;

/// How much of an answer is read that is no success, in bytes. No refusal of Throttle is as long.
const LONGEST_REFUSAL: usize = 1 << 16;

/// A whole answer that promises success: its status is 200 or 202.
#[derive(Debug)]
pub(crate) struct Answer {
    endpoint: Endpoint,
    status: StatusCode,
    /// Where a redirect leads.
    location: Option<String>,
    /// What the body is, without parameters such as a character set.
    media_type: String,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Answer {
    /// Reads the answer of an endpoint to its end, and sorts out what is no success.
    pub(crate) async fn read(mut response: Response, endpoint: &Endpoint) -> Result<Self, Error> {
        let status = response.status();
        let is_success = matches!(status, StatusCode::OK | StatusCode::ACCEPTED);
        let mut body = Vec::new();
        // The rest of a long page of somebody else is not worth the time.
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

    /// Whether what was asked for has to be waited for.
    pub(crate) fn is_pending(&self) -> bool {
        self.status == StatusCode::ACCEPTED
    }

    /// The body as JSON of a certain form.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| self.unexpected())
    }

    /// The body as plain text.
    pub(crate) fn text(&self) -> Result<String, Error> {
        let is_plain = matches!(&*self.media_type.to_ascii_lowercase(), "" | "text/plain");
        if is_plain { self.raw_text() } else { Err(self.unexpected()) }
    }

    /// The body whatever it is, but a page: no route answers one to a client that asks for problem documents.
    pub(crate) fn raw_text(&self) -> Result<String, Error> {
        match str::from_utf8(&self.body) {
            Ok(text) if !text.is_empty() && !self.media_type.eq_ignore_ascii_case("text/html") => {
                Ok(text.to_owned())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Nothing, if the body is what it has to be.
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
                Ok(Problem { code, detail, uptime, sequence, .. }) => {
                    Error::Refused { code, status, detail, uptime, sequence, retry_after }
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
                Error::Refused { code, status, detail, uptime, sequence, retry_after }
            }
            None => self.unexpected(),
        }
    }
}

fn location(headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?;
    Some(String::from_utf8_lossy(location.as_bytes()).chars().take(EXCERPT_LENGTH).collect())
}

/// `Retry-After` in seconds. As a date it would have to be compared with a clock that may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn media_type(headers: &HeaderMap) -> String {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().to_owned()
}
