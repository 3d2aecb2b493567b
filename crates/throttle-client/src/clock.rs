//! The clocks that the client reads, and the instants of a lease.

use std::{ops::Add, time::Duration};

use tokio::time::Instant;

use crate::suspend::SuspendedTime;

/// Measures the time since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Does the same on a real clock, which tests cannot pause. For threads outside of tokio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealStopwatch(std::time::Instant);

impl RealStopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// An instant: the time since a [`Clock`] was started.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Time(Duration);

impl Time {
    #[cfg(test)]
    pub(crate) const fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The time since an earlier instant; zero if that one is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

/// A clock that includes the time for which the machine was suspended, where the system reports that.
///
/// It is tokio's clock plus the suspended time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    stopwatch: Stopwatch,
    suspended: SuspendedTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { stopwatch: Stopwatch::start(), suspended: SuspendedTime::start() }
    }

    pub(crate) fn now(self) -> Time {
        Time(self.stopwatch.elapsed().saturating_add(self.suspended.elapsed()))
    }

    /// Returns at an instant, or soon after the machine resumed if it was suspended then: timers do not run
    /// while it is suspended.
    pub(crate) async fn sleep_until(self, time: Time) {
        loop {
            let left = time.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// How late a sleeper may notice that the machine was suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
