//! Where time enters: the only module that reads a clock.
//!
//! The monotonic clock is tokio's, so that tests can pause and advance it. The wall clock is read once, at
//! the start, so that fencing tokens grow across restarts, and so that records say since when something is so.
//! No lease depends on the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use throttle_core::{FencingToken, Settings, Throttle, Time};
use tokio::time::Instant;

use crate::store::UnixTime;

/// A monotonic clock that counts nanoseconds.
///
/// Whether it counts while the machine is suspended depends on the system: on Linux (`CLOCK_MONOTONIC`) and
/// macOS (`CLOCK_UPTIME_RAW`) it does not, on Windows (`QueryPerformanceCounter`) it may. Leases are the
/// same on all of them: where the clock counts that time, the service treats it as a stall.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// What it showed at its origin.
    start: Time,
}

impl Clock {
    /// A clock whose [`Time::ZERO`] is now.
    pub fn start() -> Self {
        Self::start_at(Time::ZERO)
    }

    /// A clock that shows `start` now.
    pub(crate) fn start_at(start: Time) -> Self {
        Self { origin: instant(), start }
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.start + instant().duration_since(self.origin)
    }

    /// How long it has been running.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now() - self.start
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
fn instant() -> Instant {
    Instant::now()
}

/// The wall clock at the start of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    since_1970: Duration,
}

impl WallClock {
    /// Reads the wall clock.
    pub(crate) fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
        let now = SystemTime::now();
        Self { since_1970: now.duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    #[cfg(test)]
    pub(crate) const fn at(since_1970: Duration) -> Self {
        Self { since_1970 }
    }

    pub(crate) fn unix_time(self) -> UnixTime {
        UnixTime(u64::try_from(self.since_1970.as_millis()).unwrap_or(u64::MAX))
    }

    /// The number above which a process that starts now mints its fencing tokens.
    ///
    /// It grows with the wall clock, by 2^22 a second. A restarted server therefore continues above all tokens of
    /// its predecessor if the clock ran forward and the predecessor granted fewer than four million locks of
    /// one semaphore a second. It fits in 53 bits until the year 2094. If the clock is certainly wrong, a
    /// warning is logged.
    pub(crate) fn token_floor(self) -> u64 {
        let token = token_at(self.since_1970);
        if is_plausible(self.since_1970) {
            tracing::info!(token, "fencing tokens of this run are greater than this one");
        } else {
            tracing::warn!(
                token,
                year = year(self.since_1970),
                "the clock of this machine is wrong, so fencing tokens of this run may be smaller than \
                earlier ones, or those of later runs smaller than these: set the clock and start again"
            );
        }
        token
    }
}

/// Converts between the instants of a service and those of the wall clock, which was read at the start.
///
/// Lease time leaves out stalls, the wall clock does not. An instant after the start is therefore moved by all
/// stalls so far: it is exact if it comes after them, and later than it was if it comes before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calendar {
    start: Time,
    wall: UnixTime,
}

impl Calendar {
    /// The instant `start` of the service was `wall`.
    pub(crate) const fn new(start: Time, wall: UnixTime) -> Self {
        Self { start, wall }
    }

    /// The wall clock at an instant of lease time, of which `stalled` nanoseconds were left out so far.
    pub(crate) fn to_unix(self, time: Time, stalled: u64) -> UnixTime {
        let millis = |nanos: u64| nanos / NANOS_PER_MILLI;
        let (time, start) = (time.as_nanos(), self.start.as_nanos());
        if time > start {
            UnixTime(self.wall.0.saturating_add(millis((time - start).saturating_add(stalled))))
        } else {
            UnixTime(self.wall.0.saturating_sub(millis(start - time)))
        }
    }

    /// How long before the start this was.
    pub(crate) fn age(self, unix: UnixTime) -> Duration {
        self.wall.since(unix)
    }

    /// The instant of the service at which the wall clock showed `unix`. Those after the start count as the
    /// start, those long before it as [`Time::ZERO`].
    pub(crate) fn to_time(self, unix: UnixTime) -> Time {
        let nanos = self.wall.0.saturating_sub(unix.0).saturating_mul(NANOS_PER_MILLI);
        Time::from_nanos(self.start.as_nanos().saturating_sub(nanos))
    }
}

/// What the clock of a service shows at its start if the state of an earlier one is recovered: a hundred years, so
/// that there are instants for what happened before.
pub(crate) const START_AFTER_RECOVERY: Time =
    Time::from_nanos(100 * SECONDS_PER_YEAR * 1_000_000_000);

/// Whether the clock can be right: not before this release was made, and not so late that tokens are about
/// to exceed 53 bits.
fn is_plausible(since_1970: Duration) -> bool {
    (RELEASE..START_OF_2090).contains(&since_1970)
}

/// The year, wrong by a day at most.
fn year(since_1970: Duration) -> u64 {
    1970 + since_1970.as_secs() / SECONDS_PER_YEAR
}

/// The number above which a process that starts at `now` mints its fencing tokens, if nothing else is known.
pub fn token_floor_at(now: UnixTime) -> FencingToken {
    let token = token_at(Duration::from_millis(now.0));
    // It is lower if the wall clock is decades ahead.
    Throttle::new(Settings::default()).with_token_floor(token).token_floor()
}

fn token_at(since_1970: Duration) -> u64 {
    let nanos = since_1970.saturating_sub(START_OF_2026).as_nanos();
    u64::try_from((nanos << TOKEN_BITS_PER_SECOND) / NANOS_PER_SECOND).unwrap_or(u64::MAX)
}

const NANOS_PER_MILLI: u64 = 1_000_000;
const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// Midnight of 1 January 2026, UTC.
const START_OF_2026: Duration = Duration::from_secs(1_767_225_600);
/// Midnight of 1 January 2090, UTC.
const START_OF_2090: Duration = Duration::from_secs(3_786_912_000);
/// The first day of the month in which this release was made, here 1 November 2026, UTC. It must be raised
/// with each release. It is a constant so that a build does not depend on the time at which it is made.
const RELEASE: Duration = Duration::from_secs(1_793_491_200);
/// Of an average year, which includes a quarter of a leap day.
const SECONDS_PER_YEAR: u64 = 31_557_600;
const TOKEN_BITS_PER_SECOND: u32 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_the_start_survive_the_way_to_the_wall_clock_and_back() {
        let calendar = Calendar::new(START_AFTER_RECOVERY, UnixTime(1_800_000_000_000));
        for before in [0, 1, 999, 86_400_000, 1_700_000_000_000] {
            let unix = UnixTime(1_800_000_000_000 - before);
            let time = calendar.to_time(unix);
            assert_eq!(START_AFTER_RECOVERY - time, Duration::from_millis(before));
            assert_eq!(calendar.to_unix(time, 5_000_000_000), unix);
        }
        let after = START_AFTER_RECOVERY + Duration::from_secs(7);
        assert_eq!(calendar.to_unix(after, 5_000_000_000), UnixTime(1_800_000_012_000));
        assert_eq!(calendar.to_time(UnixTime(u64::MAX)), START_AFTER_RECOVERY, "not in the future");
    }

    /// S10, even for a restart within the same second.
    #[test]
    fn a_later_start_mints_greater_tokens_unless_four_million_were_granted_a_second() {
        let boot = START_OF_2026 + Duration::from_millis(86_400_300);
        let restart = boot + Duration::from_millis(100);
        assert!(token_at(restart) - token_at(boot) > 400_000);
    }

    #[test]
    fn tokens_fit_in_53_bits_until_2094_and_survive_a_clock_that_was_never_set() {
        let year_2094 = Duration::from_secs(3_913_056_000);
        assert!(token_at(year_2094) < 1 << 53);
        assert_eq!(token_at(Duration::ZERO), 0);
    }

    /// S10: such a clock lets tokens decrease, now or when it is corrected.
    #[test]
    fn a_clock_before_the_release_or_beyond_2090_is_not_trusted() {
        let day = Duration::from_secs(24 * 60 * 60);
        for wrong in [Duration::ZERO, RELEASE - day, START_OF_2090, START_OF_2090 + 10_000 * day] {
            assert!(!is_plausible(wrong), "{wrong:?}");
        }
        for right in [RELEASE, RELEASE + 365 * day, START_OF_2090 - day] {
            assert!(is_plausible(right), "{right:?}");
        }
        let years = [Duration::ZERO, RELEASE, START_OF_2090 + day].map(year);
        assert_eq!(years, [1970, 2026, 2090]);
    }
}
