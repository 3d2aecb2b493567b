//! Where time enters: the only module that reads a clock.
//!
//! The monotonic clock is tokio's, so that tests can pause and advance it. The wall clock is read once, at
//! the start, so that fencing tokens grow across restarts. No lease depends on the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use throttle_core::{FencingToken, Time};
use tokio::time::Instant;

use crate::store::UnixTime;

/// A monotonic clock that counts nanoseconds from its start.
///
/// Whether it counts while the machine is suspended depends on the system: on Linux (`CLOCK_MONOTONIC`) and
/// macOS (`CLOCK_UPTIME_RAW`) it does not, on Windows (`QueryPerformanceCounter`) it may. Leases are the
/// same on all of them: where the clock counts that time, the service treats it as a stall.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose [`Time::ZERO`] is now.
    pub fn start() -> Self {
        Self { origin: instant() }
    }

    /// The present.
    pub fn now(&self) -> Time {
        Time::ZERO + instant().duration_since(self.origin)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
fn instant() -> Instant {
    Instant::now()
}

/// The number above which a process that starts now mints its fencing tokens.
///
/// It grows with the wall clock, by 2^22 a second. A restarted server therefore continues above all tokens of
/// its predecessor if the clock ran forward and the predecessor granted fewer than four million locks of
/// one semaphore a second. It fits in 53 bits until the year 2094. If the clock is certainly wrong, a
/// warning is logged.
pub(crate) fn token_floor() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    let now = SystemTime::now();
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let token = token_at(since_1970);
    if is_plausible(since_1970) {
        tracing::info!(token, "fencing tokens of this run are greater than this one");
    } else {
        tracing::warn!(
            token,
            year = year(since_1970),
            "the clock of this machine is wrong, so fencing tokens of this run may be smaller than \
            earlier ones, or those of later runs smaller than these: set the clock and start again"
        );
    }
    token
}

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
    FencingToken::new(token_at(Duration::from_millis(now.0))).unwrap_or(FencingToken::MAX)
}

fn token_at(since_1970: Duration) -> u64 {
    let nanos = since_1970.saturating_sub(START_OF_2026).as_nanos();
    u64::try_from((nanos << TOKEN_BITS_PER_SECOND) / NANOS_PER_SECOND).unwrap_or(u64::MAX)
}

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
