//! Where randomness enters: the only place that draws a random number.

use rand::{RngExt, SeedableRng, rngs::StdRng, rngs::SysRng};
use throttle_core::PeerId;

/// A cryptographically secure generator, seeded by the operating system.
#[derive(Debug)]
pub(crate) struct Entropy(StdRng);

impl Entropy {
    /// # Panics
    ///
    /// If the operating system has no randomness to give.
    pub(crate) fn from_system() -> Self {
        Self(StdRng::try_from_rng(&mut SysRng).expect("the operating system has randomness"))
    }

    /// The same numbers for the same seed, so that a test knows which come.
    #[cfg(test)]
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// An id that nobody can guess: never zero, and a JSON number that survives every client.
    pub(crate) fn peer_id(&mut self) -> PeerId {
        let id = self.0.random_range(1..1 << 53);
        PeerId::new(id).expect("the range excludes zero")
    }

    /// A seed for hashing.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S11
    #[test]
    fn peer_ids_fit_in_53_bits_and_use_all_of_them() {
        let mut entropy = Entropy::from_system();
        let ids: Vec<u64> = (0..1_000).map(|_| entropy.peer_id().get()).collect();
        assert!(ids.iter().all(|&id| id < 1 << 53));
        assert_eq!(ids.iter().fold(0, |bits, id| bits | id), (1 << 53) - 1);
    }
}
