//! Where time enters: the only place that reads a clock.
//!
//! The monotonic clock is tokio's, so that tests can pause and advance it. The wall clock is read
//! once, at the start, to mint fencing tokens that grow over restarts; no lease depends on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use throttle_core::Time;
use tokio::time::Instant;

/// Tells the time as the nanoseconds since the clock was made.
///
/// Whether that includes the time for which the machine was suspended is up to the system: on Linux
/// (`CLOCK_MONOTONIC`) and macOS (`CLOCK_UPTIME_RAW`) it does not, on Windows
/// (`QueryPerformanceCounter`) it may. To leases it is the same: where it does, the service takes it
/// for a stall.
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

/// The fencing token after which a process that starts now mints its own.
///
/// It grows with the wall clock by 2^22 a second. A restarted server continues above all tokens of
/// its predecessor if the clock ran forward and the predecessor granted fewer than four million
/// locks of one semaphore a second. It fits in 53 bits until the year 2094.
pub(crate) fn token_at_boot() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    let now = SystemTime::now();
    token_at(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn token_at(since_1970: Duration) -> u64 {
    let nanos = since_1970.saturating_sub(START_OF_2026).as_nanos();
    u64::try_from((nanos << TOKEN_BITS_PER_SECOND) / NANOS_PER_SECOND).unwrap_or(u64::MAX)
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// Midnight of 1 January 2026, UTC.
const START_OF_2026: Duration = Duration::from_secs(1_767_225_600);
const TOKEN_BITS_PER_SECOND: u32 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    /// S10: also for a restart within the same second.
    #[test]
    fn a_later_start_mints_greater_tokens_if_fewer_than_four_million_were_granted_a_second() {
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
}
