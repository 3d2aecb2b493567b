//! What is measured, how often, and for how long.

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
    /// How many peers contend for a mutex, for each measurement.
    pub(crate) contenders: Vec<usize>,
    /// How many open requests wait for a mutex.
    pub(crate) queue: usize,
    /// The sizes of the events that make others wait.
    pub(crate) sizes: Vec<Size>,
    /// How many peers the memory of a peer is measured with.
    pub(crate) weighed: usize,
    /// How many connections load a server with a store, and those beside it.
    pub(crate) connections: Vec<usize>,
    /// How many peers a server with a store recovers.
    pub(crate) recovered: usize,
    /// For how long peers come and go while the file of the store is watched.
    pub(crate) churn: Duration,
    /// How long a server has to return the memory of removed peers.
    pub(crate) settling: Duration,
}

impl Plan {
    /// How often a measurement is repeated that takes long to prepare each time.
    pub(crate) const fn slow_rounds(&self) -> usize {
        self.rounds.div_ceil(3)
    }

    /// Everything. Takes most of an hour.
    pub(crate) fn full() -> Self {
        use Population::{Idle, Nobody, Waiting};
        Self {
            // Many short rounds, so that a disturbance of the machine affects all servers.
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
            connections: vec![1, 64, 1_000],
            recovered: 1_000_000,
            churn: Duration::from_secs(90),
            settling: Duration::from_secs(20),
        }
    }

    /// Less of everything, within three minutes: whether it works, and roughly how fast.
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
            connections: vec![1, 64],
            recovered: 10_000,
            churn: Duration::from_millis(900),
            settling: Duration::from_millis(500),
        }
    }
}
