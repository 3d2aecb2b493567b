//! The same few requests again and again, on all connections, for a while.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::{AMPLE, LONG, Latencies, TAKEN};
use crate::{
    clock,
    engine::{Load, Times},
    wire::{Answer, Request},
};

/// What each connection does again and again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Work {
    /// A peer comes, acquires a lock, releases it, and goes.
    Cycle,
    /// A peer shows a sign of life.
    Heartbeat,
    /// A peer acquires a lock and releases it.
    Lock,
    /// Another one of all standing peers each time shows a sign of life, so that none of them is in a
    /// cache.
    Roam,
    /// The same at the end of a long queue: the peer has to wait, and changes its mind.
    Queue,
}

impl Work {
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

    /// How many requests it takes to do it once.
    const fn steps(self) -> u8 {
        match self {
            Self::Cycle => 4,
            Self::Heartbeat | Self::Roam => 1,
            Self::Lock | Self::Queue => 2,
        }
    }
}

/// A load that goes on for a while and counts what it did.
#[derive(Debug)]
pub(crate) struct Steady<'a> {
    work: Work,
    /// By connection, on whose behalf.
    peers: Vec<u64>,
    /// By connection, which request of its work comes next.
    steps: Vec<u8>,
    /// Whose turn it is in [`Work::Roam`].
    round: &'a [u64],
    /// How many of them have had their turn.
    pub(crate) turn: usize,
    start: Instant,
    end: Instant,
    is_over: bool,
    last: Instant,
    pub(crate) latencies: Latencies,
}

impl<'a> Steady<'a> {
    /// Works for `time` on behalf of these peers, one for each connection.
    pub(crate) fn new(work: Work, peers: &'a [u64], time: Duration) -> Self {
        let start = clock::now();
        Self {
            work,
            peers: peers.to_vec(),
            steps: vec![0; peers.len()],
            round: peers,
            turn: 0,
            start,
            end: start + time,
            is_over: false,
            last: start,
            latencies: Latencies::new(),
        }
    }

    /// Has [`Work::Roam`] take these in turns in place of those of the connections, beginning behind
    /// the first `turn` of them.
    #[must_use]
    pub(crate) fn roaming(self, round: &'a [u64], turn: usize) -> Self {
        Self { round, turn, ..self }
    }

    /// Requests that were answered, in one second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.time().as_secs_f64()
    }

    /// How long it took until the last answer.
    pub(crate) fn time(&self) -> Duration {
        self.last.duration_since(self.start)
    }
}

impl Load for Steady<'_> {
    fn request(&mut self, connection: usize, request: &mut Request) -> bool {
        let (peer, step) = (self.peers[connection], self.steps[connection]);
        if self.is_over && step == 0 {
            return false;
        }
        match (self.work, step) {
            (Work::Cycle, 0) => request.new_peer(LONG),
            (Work::Cycle, 3) => request.remove_peer(peer),
            (Work::Cycle, 1) | (Work::Lock, 0) => request.acquire(peer, AMPLE, ""),
            (Work::Cycle | Work::Lock, _) => request.release(peer, AMPLE),
            (Work::Heartbeat, _) => request.heartbeat(peer, LONG),
            (Work::Roam, _) => {
                request.heartbeat(self.round[self.turn % self.round.len()], LONG);
                self.turn += 1;
            }
            (Work::Queue, 0) => request.acquire(peer, TAKEN, ""),
            (Work::Queue, _) => request.release(peer, TAKEN),
        }
        self.steps[connection] = (step + 1) % self.work.steps();
        true
    }

    fn answer(
        &mut self,
        connection: usize,
        answer: Answer<'_>,
        Times { sent, answered }: Times,
    ) -> anyhow::Result<()> {
        let queues = self.work == Work::Queue && self.steps[connection] == 1;
        let answer = answer.expect(if queues { &[202] } else { &[200] })?;
        if self.work == Work::Cycle && self.steps[connection] == 1 {
            self.peers[connection] = answer.integer()?;
        }
        self.latencies.record(answered.duration_since(sent));
        self.last = answered;
        self.is_over |= answered >= self.end;
        Ok(())
    }
}
