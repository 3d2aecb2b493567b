//! What a service takes from outside: time, randomness, and the floor of its fencing tokens.

use crate::{
    clock::{self, Clock},
    entropy::Entropy,
};

/// All inputs of a service besides the operations. Two runs with the same world and the same operations are
/// the same.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    /// All fencing tokens of this run are greater than this.
    pub(crate) token_floor: u64,
}

impl World {
    /// A clock that starts now, the randomness of the operating system, and a floor from the wall clock.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give.
    pub(crate) fn real() -> Self {
        Self {
            clock: Clock::start(),
            entropy: Entropy::from_system(),
            token_floor: clock::token_floor(),
        }
    }
}
