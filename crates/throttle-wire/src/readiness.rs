//! Whether a server takes new work.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Seconds, duration};

/// Answer to `GET /ready` for a client that asks for `application/json`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Readiness {
    /// Always true: a server that is not ready answers with an error.
    pub ready: bool,
    /// What is left of the grace period, in which nothing new is granted. Present only while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::option")]
    pub grace_left: Option<Duration>,
    /// The same in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_left_seconds: Option<Seconds>,
    /// Whether locks and queues survive the end of the process.
    pub durable: bool,
}
