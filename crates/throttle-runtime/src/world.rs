//! What a service takes from outside: time and randomness.

use crate::{clock::WallClock, entropy::Entropy};

/// All inputs of a service besides the operations and the monotonic clock. Two runs with the same world, the same
/// operations and the same clock are the same.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) entropy: Entropy,
    pub(crate) wall_clock: WallClock,
}

impl World {
    /// The randomness of the operating system, and the wall clock.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give.
    pub(crate) fn real() -> Self {
        Self { entropy: Entropy::from_system(), wall_clock: WallClock::read() }
    }
}
