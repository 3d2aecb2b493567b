//! Errors as JSON documents.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Code, Seconds, duration};

/// An error as RFC 9457 describes it, with the stable `code` as an extra member.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// Identifies the kind of problem: `urn:throttle:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short phrase for people, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time: the sentence that is the whole answer if no problem document is accepted.
    pub detail: String,
    /// Identifies the error; programs may branch on it.
    pub code: Code,
    /// With `unknown_peer`: how long the server has been running. Servers that do not send
    /// [`remembers_for`](Self::remembers_for) forget all peers when they end.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::option")]
    pub uptime: Option<Duration>,
    /// The same in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<Seconds>,
    /// With `unknown_peer`: for how long the server has known every peer, restarts included. A peer that the
    /// server confirmed since then was removed or has expired. One that it confirmed before then may be
    /// forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::option")]
    pub remembers_for: Option<Duration>,
    /// The same in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembers_for_seconds: Option<Seconds>,
    /// With `stale_request`: the greatest sequence number of the peer so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

impl Problem {
    /// The document for `code` with the sentence `detail`.
    pub fn new(code: Code, detail: String) -> Self {
        Self {
            kind: format!("urn:throttle:error:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail,
            code,
            uptime: None,
            uptime_seconds: None,
            remembers_for: None,
            remembers_for_seconds: None,
            sequence: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_as_it_was_written() {
        for &code in Code::ALL {
            let problem = Problem::new(code, "What happened.".to_owned());
            let json = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
        }
    }

    #[test]
    fn a_code_of_a_newer_server_is_unknown_rather_than_an_error() {
        assert_eq!(serde_json::from_str::<Code>("\"frobnicated\"").unwrap(), Code::Unknown);
    }
}
