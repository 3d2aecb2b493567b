//! The clock by which everything here is measured.

use std::time::Instant;

/// The present.
#[expect(clippy::disallowed_methods, reason = "a stopwatch has to look at a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
