//! Random numbers that spread requests over time.

/// A number from 0 to 1. It keeps clients that failed together from retrying together.
#[expect(clippy::disallowed_methods, reason = "this is where randomness enters")]
pub(crate) fn jitter() -> f64 {
    rand::random()
}
