//! The clock of all measurements.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The current instant.
#[expect(clippy::disallowed_methods, reason = "measurements need a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Sleeps for `time`.
#[expect(clippy::disallowed_methods, reason = "a probe has a thread of its own")]
pub(crate) fn sleep(time: Duration) {
    thread::sleep(time);
}

/// Sleeps until an instant. Returns at once if it has passed.
pub(crate) fn sleep_until(instant: Instant) {
    sleep(instant.saturating_duration_since(now()));
}
