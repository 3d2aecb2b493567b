//! How long to wait for all locks together.

use std::time::{Duration, Instant};

/// A limit that runs from the moment when it is created; or no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitLimit {
    start: Instant,
    limit: Option<Duration>,
}

impl WaitLimit {
    #[expect(clippy::disallowed_methods, reason = "waits take real time")]
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// The time that is left. `None` if there is no limit.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.start.elapsed()))
    }
}
