//! What a connection does, and since when.

use std::sync::atomic::{AtomicU64, Ordering};

use throttle_runtime::Time;

/// What a connection does now. Its own task changes that with every request, so it takes no lock that
/// others take.
#[derive(Debug)]
pub(super) struct AtomicPhase(AtomicU64);

/// What a connection does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Its request is being handled.
    Busy,
    /// The client has got its answer, and has sent nothing complete since this instant.
    Idle(Time),
    /// Since this instant the client is to send its first request, or the rest of a body.
    Awaited(Time),
    /// The client does not take its answer since this instant.
    Stalled(Time),
    /// It was chosen to be closed. That is final.
    Closed,
}

impl AtomicPhase {
    pub(super) const fn new(phase: Phase) -> Self {
        Self(AtomicU64::new(phase.pack()))
    }

    pub(super) fn get(&self) -> Phase {
        Phase::unpack(self.0.load(Ordering::Acquire))
    }

    /// Changes what the connection does. Returns false if it was chosen to be closed.
    pub(super) fn set(&self, phase: Phase) -> bool {
        let change = |old| (old != Phase::Closed.pack()).then_some(phase.pack());
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    /// Chooses the connection to be closed, unless it has done something since it was `seen`.
    pub(super) fn close(&self, seen: Phase) -> bool {
        let (old, new) = (seen.pack(), Phase::Closed.pack());
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Phase {
    /// Since when, if it matters.
    pub(super) const fn since(self) -> Time {
        match self {
            Self::Busy | Self::Closed => Time::ZERO,
            Self::Idle(since) | Self::Awaited(since) | Self::Stalled(since) => since,
        }
    }

    /// The instant, which takes fewer than 61 bits in the first seventy years, and what happened then.
    const fn pack(self) -> u64 {
        match self {
            Self::Busy => 0,
            Self::Closed => 1,
            Self::Idle(since) => since.as_nanos() << 3 | 2,
            Self::Awaited(since) => since.as_nanos() << 3 | 3,
            Self::Stalled(since) => since.as_nanos() << 3 | 4,
        }
    }

    const fn unpack(packed: u64) -> Self {
        let since = Time::from_nanos(packed >> 3);
        match packed & 7 {
            0 => Self::Busy,
            2 => Self::Idle(since),
            3 => Self::Awaited(since),
            4 => Self::Stalled(since),
            _ => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_chosen_to_be_closed_begins_nothing() {
        let then = Time::from_nanos(1 << 60);
        let atomic = AtomicPhase::new(Phase::Awaited(then));
        for phase in [Phase::Busy, Phase::Idle(then), Phase::Stalled(then), Phase::Awaited(then)] {
            assert!(atomic.set(phase));
            assert_eq!(atomic.get(), phase);
        }
        assert!(!atomic.close(Phase::Busy), "it has done something since");
        assert!(atomic.close(Phase::Awaited(then)));
        assert!(!atomic.set(Phase::Busy));
        assert_eq!(atomic.get(), Phase::Closed);
    }
}
