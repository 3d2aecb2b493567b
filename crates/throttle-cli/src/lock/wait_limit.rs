//! For how long somebody wants to wait.

use std::time::{Duration, Instant};

/// A time to wait for everything together, which runs from the moment it is made; or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitLimit {
    start: Instant,
    limit: Option<Duration>,
}

impl WaitLimit {
    #[expect(clippy::disallowed_methods, reason = "somebody waits in real time")]
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// What is left of it. None if there is no limit.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.start.elapsed()))
    }
}
