//! Eviction: which connections may be closed in favour of others, and in which order.
//!
//! Nothing is kept in order while there is room. When there is none, all connections are scanned once, and
//! those that are neither handling a request nor closed are sorted. A candidate may have done something since, so
//! it is checked again before it is chosen. A connection that becomes idle after the scan has been idle for a
//! shorter time than all candidates, and is safe until the shortest grace period has passed. So a scan is made
//! at most once in that period, and most choices take a few steps.

use std::{cmp::Reverse, time::Duration};

use throttle_runtime::Time;

use super::connection_phase::Phase;

/// The candidates that the last scan found.
#[derive(Debug, Default)]
pub(super) struct EvictionOrder {
    /// Each list is sorted by instant, with the earliest one last.
    idle: Vec<Candidate>,
    awaiting: Vec<Candidate>,
    stalled: Vec<Candidate>,
    /// When the last scan was made.
    scanned: Option<Time>,
}

/// How long a connection is safe from being closed after it has entered a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GracePeriods {
    pub(crate) idle: Duration,
    pub(crate) awaiting_request: Duration,
    pub(crate) stalled: Duration,
}

/// A connection, and its phase at the last scan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Candidate {
    pub(super) key: usize,
    /// Distinguishes it from a later connection with the same key.
    pub(super) number: u64,
    pub(super) phase: Phase,
}

impl EvictionOrder {
    /// Takes the next connection to close: the one that has been idle or awaiting a request for longest, or if
    /// there is none, the one that has been stalled for longest.
    ///
    /// `is_current` returns whether a candidate is still in its phase; `all` returns the open connections.
    pub(super) fn next<I: Iterator<Item = Candidate>>(
        &mut self,
        now: Time,
        grace: GracePeriods,
        is_current: impl Fn(Candidate) -> bool,
        all: impl FnOnce() -> I,
    ) -> Option<Candidate> {
        let next = self.take(now, grace, &is_current);
        let shortest = grace.idle.min(grace.awaiting_request).min(grace.stalled);
        if next.is_some() || self.scanned.is_some_and(|scanned| now - scanned < shortest) {
            return next;
        }
        self.scan(now, all());
        self.take(now, grace, is_current)
    }

    fn scan(&mut self, now: Time, all: impl Iterator<Item = Candidate>) {
        *self = Self { scanned: Some(now), ..Self::default() };
        for candidate in all {
            match candidate.phase {
                Phase::Idle(_) => self.idle.push(candidate),
                Phase::AwaitingRequest(_) => self.awaiting.push(candidate),
                Phase::Stalled(_) => self.stalled.push(candidate),
                Phase::Busy | Phase::Closed => {}
            }
        }
        for list in [&mut self.idle, &mut self.awaiting, &mut self.stalled] {
            list.sort_unstable_by_key(|candidate| Reverse(candidate.phase.since()));
        }
    }

    fn take(
        &mut self,
        now: Time,
        grace: GracePeriods,
        is_current: impl Fn(Candidate) -> bool,
    ) -> Option<Candidate> {
        let first = |list: &mut Vec<Candidate>, grace| {
            while list.pop_if(|&mut candidate| !is_current(candidate)).is_some() {}
            let first = *list.last()?;
            (now - first.phase.since() >= grace).then_some(first)
        };
        let idle = first(&mut self.idle, grace.idle);
        let awaiting = first(&mut self.awaiting, grace.awaiting_request);
        match (idle, awaiting) {
            (Some(idle), Some(awaiting)) if awaiting.phase.since() < idle.phase.since() => {
                self.awaiting.pop()
            }
            (Some(_), _) => self.idle.pop(),
            (None, Some(_)) => self.awaiting.pop(),
            (None, None) => {
                first(&mut self.stalled, grace.stalled)?;
                self.stalled.pop()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: GracePeriods = GracePeriods {
        idle: Duration::from_nanos(10),
        awaiting_request: Duration::from_nanos(20),
        stalled: Duration::from_nanos(5),
    };

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// The connection that is closed at this instant, by its index in `phases`.
    fn evict(phases: &mut [Phase], eviction: &mut EvictionOrder, now: u64) -> Option<usize> {
        let all = phases.iter().enumerate();
        let all = all.map(|(key, &phase)| Candidate { key, number: 0, phase });
        let is_current = |seen: Candidate| phases[seen.key] == seen.phase;
        let next = eviction.next(at(now), GRACE, is_current, || all)?;
        phases[next.key] = Phase::Closed;
        Some(next.key)
    }

    #[test]
    fn the_connection_that_is_idle_for_longest_is_closed_first_and_stalled_ones_last() {
        let mut order = EvictionOrder::default();
        let mut phases = [
            Phase::Stalled(at(1)),
            Phase::Idle(at(4)),
            Phase::AwaitingRequest(at(3)),
            Phase::Busy,
            Phase::Idle(at(2)),
            Phase::Idle(at(40)),
        ];
        let evicted = [(); 5].map(|()| evict(&mut phases, &mut order, 49));
        assert_eq!(evicted, [Some(4), Some(2), Some(1), Some(0), None]);
    }

    #[test]
    fn a_candidate_that_has_done_something_since_the_scan_is_not_closed() {
        let mut order = EvictionOrder::default();
        let mut phases = [Phase::Idle(at(1)), Phase::Idle(at(2)), Phase::Idle(at(3)), Phase::Busy];
        assert_eq!(evict(&mut phases, &mut order, 20), Some(0));
        phases[1] = Phase::Idle(at(21));
        phases[3] = Phase::Idle(at(22));
        assert_eq!(evict(&mut phases, &mut order, 30), Some(2));
        assert_eq!(evict(&mut phases, &mut order, 30), None);
        let evicted = [31, 31, 32].map(|now| evict(&mut phases, &mut order, now));
        assert_eq!(evicted, [Some(1), None, Some(3)]);
    }
}
