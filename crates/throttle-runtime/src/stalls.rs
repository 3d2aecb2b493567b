//! The time in which the service was attentive. Leases run on it, and on nothing else.
//!
//! A server that stood still (SIGSTOP, a paused virtual machine, starvation) has read no heartbeats
//! meanwhile, so it must not charge that time to the peers. Each operation and each tick of the timer
//! observes the clock. Two observations in a row that are more than a second apart are a stall,
//! and of a stall only one [`TICK`] counts as time that passed. Other gaps count in full. Hence
//! attentive time never runs ahead of the clock, so a stall only ever delays a grant; and it moves on
//! with every observation, so a server that stalls again and again still lets leases end.

use std::time::Duration;

use throttle_core::Time;

use crate::rate_limit::RateLimit;

/// The timer observes the clock at least this often while nobody asks for anything.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// The longest time between two observations that is no stall: a second. Four ticks, so a machine
/// that is merely busy stays below it.
const LONGEST_GAP_NANOS: u64 = 1_000_000_000;

/// At most once in this time the log tells of stalls.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Times in which the service was not attentive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stalls {
    /// How many there were.
    pub count: u64,
    /// How long they lasted in sum. Leases stood still for that long, except for up to a quarter of a
    /// second of each.
    pub total: Duration,
}

/// Turns instants of the clock into attentive time.
#[derive(Debug, Default)]
pub(crate) struct LeaseClock {
    last: Time,
    /// What does not count, in nanoseconds. A number and no `Duration`, for each operation subtracts it.
    discounted: u64,
    stalls: Stalls,
    reported: Stalls,
    log: RateLimit,
}

impl LeaseClock {
    /// The attentive time at the instant `now` of the clock.
    pub(crate) fn observe(&mut self, now: Time) -> Time {
        let gap = now.as_nanos().saturating_sub(self.last.as_nanos());
        self.last = self.last.max(now);
        if gap > LONGEST_GAP_NANOS {
            self.discount(Duration::from_nanos(gap));
        }
        self.present()
    }

    /// The attentive time of the latest observation.
    pub(crate) fn present(&self) -> Time {
        Time::from_nanos(self.last.as_nanos() - self.discounted)
    }

    #[cold]
    fn discount(&mut self, gap: Duration) {
        let nanos = u64::try_from((gap - TICK).as_nanos());
        self.discounted += nanos.expect("it was a number of nanoseconds before");
        self.stalls.count += 1;
        self.stalls.total += gap;
    }

    /// All stalls so far.
    pub(crate) fn stalls(&self) -> Stalls {
        self.stalls
    }

    /// The stalls that the log has not told of yet, if it is time to do so.
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

    /// S8: over random gaps, as a sum that knows nothing of instants has it.
    #[test]
    fn attentive_time_is_the_sum_of_all_gaps_that_are_no_stall() {
        let (mut stalls, mut steady) = (0, 0);
        arbtest::arbtest(|u| {
            let (mut attention, mut now) = (LeaseClock::default(), Time::ZERO);
            let mut attentive = Duration::ZERO;
            while !u.is_empty() {
                let longest = *u.choose(&[10, 1_000, 1_001, 10_000, 10_000_000])?;
                let gap = Duration::from_millis(u.int_in_range(0..=longest)?);
                now = now + gap;
                let is_stall = gap > SECOND;
                attentive += if is_stall { TICK } else { gap };
                *(if is_stall { &mut stalls } else { &mut steady }) += 1;
                assert_eq!(attention.observe(now), Time::ZERO + attentive);
            }
            Ok(())
        });
        assert!(stalls > 10 && steady > 10, "{stalls} stalls, {steady} steady steps");
    }

    #[test]
    fn the_log_tells_of_the_first_stall_at_once_and_sums_up_those_that_follow() {
        let mut attention = LeaseClock::default();
        let mut now = Time::ZERO;
        let mut reports = Vec::new();
        for _ in 0..10 {
            now = now + 5 * SECOND;
            attention.observe(now);
            reports.extend(attention.report());
        }
        let counts: Vec<_> = reports.iter().map(|report| report.count).collect();
        assert_eq!(counts, [1, 2, 2, 2, 2]);
        assert_eq!(reports[1].total, 10 * SECOND);
        assert_eq!(attention.stalls(), Stalls { count: 10, total: 50 * SECOND });
    }
}
