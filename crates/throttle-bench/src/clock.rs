//! The clock by which everything here is measured.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The present.
#[expect(clippy::disallowed_methods, reason = "a stopwatch has to look at a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets time pass, without using the processor.
#[expect(clippy::disallowed_methods, reason = "a probe waits for nothing but its time")]
pub(crate) fn sleep(time: Duration) {
    thread::sleep(time);
}

/// Lets time pass until an instant; not at all, if it has passed.
pub(crate) fn sleep_until(instant: Instant) {
    sleep(instant.saturating_duration_since(now()));
}
