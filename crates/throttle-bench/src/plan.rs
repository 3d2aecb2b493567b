//! What is measured, how often and for how long.

use std::time::Duration;

use crate::{
    load::Scenario,
    scale::{Population, Size},
};

/// A plan of measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How often each measurement is repeated.
    pub(crate) rounds: usize,
    /// How long each round of a load takes.
    pub(crate) time: Duration,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) populations: Vec<Population>,
    /// How many peers take turns on a mutex.
    pub(crate) contenders: Vec<usize>,
    /// How many open requests wait in front of a mutex.
    pub(crate) queue: usize,
    /// How many are concerned by what makes others wait.
    pub(crate) sizes: Vec<Size>,
    /// How many peers are weighed.
    pub(crate) weighed: usize,
    /// How long a server has to return the memory of those who are gone.
    pub(crate) settling: Duration,
}

impl Plan {
    /// How often something is repeated that takes a while to prepare each time.
    pub(crate) const fn slow_rounds(&self) -> usize {
        self.rounds.div_ceil(3)
    }

    /// All that users may want to know. Takes most of an hour.
    pub(crate) fn full() -> Self {
        use Population::{Idle, Nobody, Waiting};
        Self {
            // Many short ones rather than few long ones: what disturbs the machine for a while then
            // disturbs all servers.
            rounds: 15,
            time: Duration::from_millis(400),
            scenarios: Scenario::ALL.to_vec(),
            populations: vec![
                Nobody,
                Idle(1_000),
                Idle(10_000),
                Idle(100_000),
                Idle(1_000_000),
                Waiting(100_000),
            ],
            contenders: vec![16, 1_000],
            queue: 10_000,
            sizes: vec![Size::of(100_000), Size::of(1_000_000)],
            weighed: 1_000_000,
            settling: Duration::from_secs(20),
        }
    }

    /// Whether everything still works, and roughly how fast, within three minutes.
    pub(crate) fn quick() -> Self {
        use Population::{Idle, Nobody, Waiting};
        Self {
            rounds: 2,
            time: Duration::from_millis(300),
            scenarios: Scenario::ALL.to_vec(),
            populations: vec![Nobody, Idle(1_000), Idle(10_000), Waiting(1_000)],
            contenders: vec![16, 100],
            queue: 500,
            sizes: vec![Size::of(10_000)],
            weighed: 20_000,
            settling: Duration::from_millis(500),
        }
    }
}
