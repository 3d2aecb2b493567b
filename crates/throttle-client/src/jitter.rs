//! Random numbers that spread requests over time.

/// A number from 0 to 1, so that clients which failed together do not come back together.
#[expect(clippy::disallowed_methods, reason = "this is where randomness enters")]
pub(crate) fn jitter() -> f64 {
    rand::random()
}
