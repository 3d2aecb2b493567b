//! Repeats the same few requests on all connections for a given time.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::{AMPLE, Dialect, Latencies, Operation, TAKEN};
use crate::{
    clock,
    engine::{Load, Times},
    http::{Answer, Request},
};

/// What each connection repeats.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Scenario {
    /// Creates a peer, acquires a lock, releases it, and removes the peer.
    Cycle,
    /// Sends a heartbeat of the connection's peer.
    Heartbeat,
    /// Acquires a lock and releases it.
    Lock,
    /// Sends heartbeats of all peers of the population in turn, so that none of them is in a cache.
    Roam,
    /// Joins the end of a long queue and leaves it.
    Queue,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] =
        [Self::Cycle, Self::Lock, Self::Heartbeat, Self::Roam, Self::Queue];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::Heartbeat => "heartbeat",
            Self::Lock => "lock",
            Self::Queue => "queue",
            Self::Roam => "roam",
        }
    }

    /// The number of requests of one repetition.
    pub(crate) const fn steps(self) -> u8 {
        match self {
            Self::Cycle => 4,
            Self::Heartbeat | Self::Roam => 1,
            Self::Lock | Self::Queue => 2,
        }
    }

    /// What a request of the scenario does.
    pub(crate) const fn operation(self, step: u8) -> Operation {
        match (self, step) {
            (Self::Cycle, 0) => Operation::NewPeer,
            (Self::Cycle, 3) => Operation::RemovePeer,
            (Self::Cycle, 1) | (Self::Lock, 0) => Operation::Acquire(AMPLE),
            (Self::Cycle | Self::Lock, _) => Operation::Release(AMPLE),
            (Self::Heartbeat | Self::Roam, _) => Operation::Heartbeat,
            (Self::Queue, 0) => Operation::Queue(TAKEN),
            (Self::Queue, _) => Operation::Release(TAKEN),
        }
    }
}

/// A load that repeats a scenario for a given time, and its latencies.
#[derive(Debug)]
pub(crate) struct ScenarioLoad<'a> {
    scenario: Scenario,
    dialect: Dialect,
    /// By connection, its peer.
    peers: Vec<u64>,
    /// By connection, which request of the scenario comes next.
    steps: Vec<u8>,
    /// The peers of [`Scenario::Roam`], in turn.
    round: &'a [u64],
    /// How many heartbeats of `round` were sent.
    pub(crate) roamed: usize,
    start: Instant,
    end: Instant,
    is_over: bool,
    last: Instant,
    pub(crate) latencies: Latencies,
}

impl<'a> ScenarioLoad<'a> {
    /// Repeats the scenario for `time`, with one of these peers for each connection.
    pub(crate) fn new(scenario: Scenario, peers: &'a [u64], time: Duration) -> Self {
        let start = clock::now();
        Self {
            scenario,
            dialect: Dialect::Throttle,
            peers: peers.to_vec(),
            steps: vec![0; peers.len()],
            round: peers,
            roamed: 0,
            start,
            end: start + time,
            is_over: false,
            last: start,
            latencies: Latencies::new(),
        }
    }

    /// Uses `round` for [`Scenario::Roam`] in place of the peers of the connections. The first `roamed` had
    /// their turn before.
    #[must_use]
    pub(crate) fn roaming(self, round: &'a [u64], roamed: usize) -> Self {
        Self { round, roamed, ..self }
    }

    /// Talks to another kind of server.
    #[must_use]
    pub(crate) fn in_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Answered requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.time().as_secs_f64()
    }

    /// The time from the start to the last answer.
    pub(crate) fn time(&self) -> Duration {
        self.last.duration_since(self.start)
    }
}

impl Load for ScenarioLoad<'_> {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        let (mut peer, step) = (self.peers[connection], self.steps[connection]);
        if self.is_over && step == 0 {
            return false;
        }
        if self.scenario == Scenario::Roam {
            peer = self.round[self.roamed % self.round.len()];
            self.roamed += 1;
        }
        self.dialect.write(self.scenario.operation(step), connection, peer, request);
        self.steps[connection] = (step + 1) % self.scenario.steps();
        true
    }

    fn answer(
        &mut self,
        connection: usize,
        answer: Answer<'_>,
        Times { sent, answered }: Times,
    ) -> anyhow::Result<()> {
        let steps = self.scenario.steps();
        let operation = self.scenario.operation((self.steps[connection] + steps - 1) % steps);
        if let Some(peer) = self.dialect.read(operation, answer)? {
            self.peers[connection] = peer;
        }
        self.latencies.record(answered.duration_since(sent));
        self.last = answered;
        self.is_over |= answered >= self.end;
        Ok(())
    }
}
