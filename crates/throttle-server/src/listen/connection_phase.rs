//! The phase of a connection: what it does, and since when.

use std::sync::atomic::{AtomicU64, Ordering};

use throttle_runtime::Time;

/// The phase of a connection. Its task changes it with every request, without a lock that other tasks take.
#[derive(Debug)]
pub(super) struct AtomicPhase(AtomicU64);

/// What a connection does, with the instant since when it may be closed for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// A request is being handled, or its answer written.
    Busy,
    /// The client has received its answer, and has sent no complete request since.
    Idle(Time),
    /// The client is to send its first request, or the rest of a body.
    AwaitingRequest(Time),
    /// The client does not read its answer.
    Stalled(Time),
    /// The connection was chosen to be closed. It never leaves this phase.
    Closed,
}

impl AtomicPhase {
    pub(super) const fn new(phase: Phase) -> Self {
        Self(AtomicU64::new(phase.pack()))
    }

    pub(super) fn get(&self) -> Phase {
        Phase::unpack(self.0.load(Ordering::Acquire))
    }

    /// Enters a phase. Returns false if the connection was chosen to be closed.
    pub(super) fn set(&self, phase: Phase) -> bool {
        let change = |old| (old != Phase::Closed.pack()).then_some(phase.pack());
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    /// Chooses the connection to be closed, unless it has left the phase in which it was `seen`.
    pub(super) fn close(&self, seen: Phase) -> bool {
        let (old, new) = (seen.pack(), Phase::Closed.pack());
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Phase {
    /// When the phase was entered; zero where that does not matter.
    pub(super) const fn since(self) -> Time {
        match self {
            Self::Busy | Self::Closed => Time::ZERO,
            Self::Idle(since) | Self::AwaitingRequest(since) | Self::Stalled(since) => since,
        }
    }

    /// The instant and the phase in one word: 61 bits of nanoseconds last for seventy years.
    const fn pack(self) -> u64 {
        match self {
            Self::Busy => 0,
            Self::Closed => 1,
            Self::Idle(since) => since.as_nanos() << 3 | 2,
            Self::AwaitingRequest(since) => since.as_nanos() << 3 | 3,
            Self::Stalled(since) => since.as_nanos() << 3 | 4,
        }
    }

    const fn unpack(packed: u64) -> Self {
        let since = Time::from_nanos(packed >> 3);
        match packed & 7 {
            0 => Self::Busy,
            2 => Self::Idle(since),
            3 => Self::AwaitingRequest(since),
            4 => Self::Stalled(since),
            _ => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_chosen_to_be_closed_enters_no_other_phase() {
        let then = Time::from_nanos(1 << 60);
        let atomic = AtomicPhase::new(Phase::AwaitingRequest(then));
        for phase in
            [Phase::Busy, Phase::Idle(then), Phase::Stalled(then), Phase::AwaitingRequest(then)]
        {
            assert!(atomic.set(phase));
            assert_eq!(atomic.get(), phase);
        }
        assert!(!atomic.close(Phase::Busy), "it has left that phase since");
        assert!(atomic.close(Phase::AwaitingRequest(then)));
        assert!(!atomic.set(Phase::Busy));
        assert_eq!(atomic.get(), Phase::Closed);
    }
}
