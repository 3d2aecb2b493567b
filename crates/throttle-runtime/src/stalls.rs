//! Stalls, and the lease clock, which does not count them. Leases run on the lease clock alone.
//!
//! A server that was suspended (SIGSTOP, a paused virtual machine, starvation) read no heartbeats during that
//! time, so no lease may end because of it. Each operation and each tick of the timer observes the clock. A
//! gap of more than a second between two observations is a stall, and counts as one [`TICK`]. Shorter gaps
//! count in full. The lease clock is therefore never ahead of the real one, so a stall can only delay a
//! grant; and it advances with every observation, so leases end even on a server that stalls all the time.

use std::time::Duration;

use throttle_core::Time;

use crate::rate_limit::RateLimit;

/// The timer observes the clock at least this often.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// The longest gap between two observations that is not a stall: a second. It is four ticks, so that a
/// machine that is merely busy stays below it.
const LONGEST_GAP_NANOS: u64 = 1_000_000_000;

/// At most once in this time a line about stalls is logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Times during which the service was suspended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stalls {
    /// How many there were.
    pub count: u64,
    /// How long they lasted in sum. Leases did not run during that time, except for a quarter of a second
    /// of each stall.
    pub total: Duration,
}

/// Turns instants of the clock into lease time, which leaves out stalls.
#[derive(Debug, Default)]
pub(crate) struct LeaseClock {
    last: Time,
    /// The time that was left out, in nanoseconds. Each operation subtracts it, which is faster with a number
    /// than with a `Duration`.
    discounted: u64,
    stalls: Stalls,
    reported: Stalls,
    log: RateLimit,
}

impl LeaseClock {
    /// A clock that shows `start`.
    pub(crate) fn start_at(start: Time) -> Self {
        Self { last: start, ..Self::default() }
    }

    /// How much was left out so far, in nanoseconds.
    pub(crate) fn discounted(&self) -> u64 {
        self.discounted
    }

    /// Observes the instant `now` of the clock, and returns the lease time.
    pub(crate) fn observe(&mut self, now: Time) -> Time {
        let gap = now.as_nanos().saturating_sub(self.last.as_nanos());
        self.last = self.last.max(now);
        if gap > LONGEST_GAP_NANOS {
            self.discount(Duration::from_nanos(gap));
        }
        self.present()
    }

    /// Observes the instant `now` of the clock, and leaves out the time since the latest observation. Returns the
    /// lease time.
    pub(crate) fn stand_still(&mut self, now: Time) -> Time {
        self.discounted += now.as_nanos().saturating_sub(self.last.as_nanos());
        self.last = self.last.max(now);
        self.present()
    }

    /// The instant of the latest observation.
    pub(crate) fn observed(&self) -> Time {
        self.last
    }

    /// The lease time of the latest observation.
    pub(crate) fn present(&self) -> Time {
        Time::from_nanos(self.last.as_nanos() - self.discounted)
    }

    #[cold]
    fn discount(&mut self, gap: Duration) {
        let nanos = u64::try_from((gap - TICK).as_nanos());
        self.discounted += nanos.expect("it is a part of a number of nanoseconds");
        self.stalls.count += 1;
        self.stalls.total += gap;
    }

    /// All stalls so far.
    pub(crate) fn stalls(&self) -> Stalls {
        self.stalls
    }

    /// The stalls since the last report, if it is time for another one.
    pub(crate) fn report(&mut self) -> Option<Stalls> {
        if self.stalls == self.reported || !self.log.admits(self.last, REPORT_INTERVAL) {
            return None;
        }
        let new = Stalls {
            count: self.stalls.count - self.reported.count,
            total: self.stalls.total - self.reported.total,
        };
        self.reported = self.stalls;
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// S8: over random gaps, compared with a plain sum.
    #[test]
    fn lease_time_is_the_sum_of_all_gaps_with_one_tick_for_each_stall() {
        let (mut stalls, mut steady) = (0, 0);
        arbtest::arbtest(|u| {
            let (mut clock, mut now) = (LeaseClock::default(), Time::ZERO);
            let mut lease_time = Duration::ZERO;
            while !u.is_empty() {
                let longest = *u.choose(&[10, 1_000, 1_001, 10_000, 10_000_000])?;
                let gap = Duration::from_millis(u.int_in_range(0..=longest)?);
                now = now + gap;
                let is_stall = gap > SECOND;
                lease_time += if is_stall { TICK } else { gap };
                *(if is_stall { &mut stalls } else { &mut steady }) += 1;
                assert_eq!(clock.observe(now), Time::ZERO + lease_time);
            }
            Ok(())
        });
        assert!(stalls > 10 && steady > 10, "{stalls} stalls, {steady} steady steps");
    }

    #[test]
    fn the_first_stall_is_reported_at_once_and_later_ones_are_summed_up() {
        let mut clock = LeaseClock::default();
        let mut now = Time::ZERO;
        let mut reports = Vec::new();
        for _ in 0..10 {
            now = now + 5 * SECOND;
            clock.observe(now);
            reports.extend(clock.report());
        }
        let counts: Vec<_> = reports.iter().map(|report| report.count).collect();
        assert_eq!(counts, [1, 2, 2, 2, 2]);
        assert_eq!(reports[1].total, 10 * SECOND);
        assert_eq!(clock.stalls(), Stalls { count: 10, total: 50 * SECOND });
    }
}
