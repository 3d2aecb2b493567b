//! Which connections may be closed in favour of others, in the order in which they have to leave.
//!
//! Nothing is kept in order while there is room. When there is none, all connections are looked at once
//! and those that nobody needs are sorted; whoever is chosen is looked at again, for it may have done
//! something since. What becomes idle after that is idle for a shorter time than all that were found,
//! and cannot leave before the shortest time is over. So connections are looked at once in that time at
//! most, and a choice takes a few steps.

use std::{cmp::Reverse, time::Duration};

use throttle_runtime::Time;

use super::connection_phase::Phase;

/// Connections that nobody needed when all of them were looked at.
#[derive(Debug, Default)]
pub(super) struct EvictionOrder {
    /// Each in the order of instants, the earliest one last.
    idle: Vec<Candidate>,
    awaited: Vec<Candidate>,
    stalled: Vec<Candidate>,
    /// When all were looked at.
    found: Option<Time>,
}

/// How long connections are left in peace at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct GracePeriods {
    pub(super) idle: Duration,
    pub(super) awaited: Duration,
    pub(super) stalled: Duration,
}

/// A connection, and what it did when all were looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Candidate {
    pub(super) key: usize,
    /// Tells it from a later connection with the same key.
    pub(super) number: u64,
    pub(super) phase: Phase,
}

impl EvictionOrder {
    /// The next one to leave: who is idle or awaited for longest, or else who is stalled for longest.
    /// `is_current` says whether one still does what it did. `all` are those that are open.
    pub(super) fn next<I: Iterator<Item = Candidate>>(
        &mut self,
        now: Time,
        peace: GracePeriods,
        is_current: impl Fn(Candidate) -> bool,
        all: impl FnOnce() -> I,
    ) -> Option<Candidate> {
        let next = self.take(now, peace, &is_current);
        let shortest = peace.idle.min(peace.awaited).min(peace.stalled);
        if next.is_some() || self.found.is_some_and(|found| now - found < shortest) {
            return next;
        }
        self.find(now, all());
        self.take(now, peace, is_current)
    }

    fn find(&mut self, now: Time, all: impl Iterator<Item = Candidate>) {
        *self = Self { found: Some(now), ..Self::default() };
        for candidate in all {
            match candidate.phase {
                Phase::Idle(_) => self.idle.push(candidate),
                Phase::Awaited(_) => self.awaited.push(candidate),
                Phase::Stalled(_) => self.stalled.push(candidate),
                Phase::Busy | Phase::Closed => {}
            }
        }
        for list in [&mut self.idle, &mut self.awaited, &mut self.stalled] {
            list.sort_unstable_by_key(|candidate| Reverse(candidate.phase.since()));
        }
    }

    fn take(
        &mut self,
        now: Time,
        peace: GracePeriods,
        is_current: impl Fn(Candidate) -> bool,
    ) -> Option<Candidate> {
        let first = |list: &mut Vec<Candidate>, peace| {
            while list.pop_if(|&mut candidate| !is_current(candidate)).is_some() {}
            let first = *list.last()?;
            (now - first.phase.since() >= peace).then_some(first)
        };
        let idle = first(&mut self.idle, peace.idle);
        let awaited = first(&mut self.awaited, peace.awaited);
        match (idle, awaited) {
            (Some(idle), Some(awaited)) if awaited.phase.since() < idle.phase.since() => {
                self.awaited.pop()
            }
            (Some(_), _) => self.idle.pop(),
            (None, Some(_)) => self.awaited.pop(),
            (None, None) => {
                first(&mut self.stalled, peace.stalled)?;
                self.stalled.pop()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEACE: GracePeriods = GracePeriods {
        idle: Duration::from_nanos(10),
        awaited: Duration::from_nanos(20),
        stalled: Duration::from_nanos(5),
    };

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// Who leaves at each of these instants. Connections are known by their place in the list.
    fn leave(phases: &mut [Phase], candidates: &mut EvictionOrder, now: u64) -> Option<usize> {
        let all = phases.iter().enumerate();
        let all = all.map(|(key, &phase)| Candidate { key, number: 0, phase });
        let is_current = |seen: Candidate| phases[seen.key] == seen.phase;
        let next = candidates.next(at(now), PEACE, is_current, || all)?;
        phases[next.key] = Phase::Closed;
        Some(next.key)
    }

    #[test]
    fn who_is_idle_for_longest_leaves_first_and_the_stalled_leave_last() {
        let mut candidates = EvictionOrder::default();
        let mut phases = [
            Phase::Stalled(at(1)),
            Phase::Idle(at(4)),
            Phase::Awaited(at(3)),
            Phase::Busy,
            Phase::Idle(at(2)),
            Phase::Idle(at(40)),
        ];
        let order = [(); 5].map(|()| leave(&mut phases, &mut candidates, 49));
        assert_eq!(order, [Some(4), Some(2), Some(1), Some(0), None]);
    }

    #[test]
    fn who_has_done_something_since_all_were_looked_at_is_judged_anew() {
        let mut candidates = EvictionOrder::default();
        let mut phases = [Phase::Idle(at(1)), Phase::Idle(at(2)), Phase::Idle(at(3)), Phase::Busy];
        assert_eq!(leave(&mut phases, &mut candidates, 20), Some(0));
        phases[1] = Phase::Idle(at(21));
        phases[3] = Phase::Idle(at(22));
        assert_eq!(leave(&mut phases, &mut candidates, 30), Some(2));
        assert_eq!(leave(&mut phases, &mut candidates, 30), None);
        let order = [31, 31, 32].map(|now| leave(&mut phases, &mut candidates, now));
        assert_eq!(order, [Some(1), None, Some(3)]);
    }
}
