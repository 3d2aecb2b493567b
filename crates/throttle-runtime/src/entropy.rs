//! Where randomness enters: the only module that draws random numbers.

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

    /// A generator that draws the same numbers for the same seed.
    #[cfg(test)]
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// An unpredictable id. It is not zero and fits in 53 bits, which JSON numbers keep in every client.
    pub(crate) fn peer_id(&mut self) -> PeerId {
        let id = self.0.random_range(1..1 << 53);
        PeerId::new(id).expect("the range excludes zero")
    }

    /// An id for a store. It fits in 53 bits, which JSON numbers keep in every tool that reads an export.
    pub(crate) fn store_id(&mut self) -> u64 {
        self.0.random_range(1..1 << 53)
    }

    /// A seed for the hash function of the core's tables.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S11
    #[test]
    fn peer_ids_use_all_of_53_bits_and_no_more() {
        let mut entropy = Entropy::from_system();
        let ids: Vec<u64> = (0..1_000).map(|_| entropy.peer_id().get()).collect();
        assert!(ids.iter().all(|&id| id < 1 << 53));
        assert_eq!(ids.iter().fold(0, |bits, id| bits | id), (1 << 53) - 1);
    }
}
