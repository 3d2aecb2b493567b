//! Where the world enters: the only place that reads a clock and draws a random number.

use std::time::Duration;

use tokio::time::Instant;

/// Tells how much time has passed since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A number from 0 to 1, so that clients which failed together do not come back together.
#[expect(clippy::disallowed_methods, reason = "this is where randomness enters")]
pub(crate) fn jitter() -> f64 {
    rand::random()
}
