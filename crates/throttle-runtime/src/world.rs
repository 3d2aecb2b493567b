//! What a service takes from outside: the time, randomness, and where its fencing tokens begin.

use crate::{
    clock::{self, Clock},
    entropy::Entropy,
};

/// Everything that makes one run of a service differ from another one with the same operations.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    /// All fencing tokens of this run are greater.
    pub(crate) token_floor: u64,
}

impl World {
    /// The clock and the randomness of the machine. The clock begins now.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give.
    pub(crate) fn real() -> Self {
        Self {
            clock: Clock::start(),
            entropy: Entropy::from_system(),
            token_floor: clock::token_at_boot(),
        }
    }
}
