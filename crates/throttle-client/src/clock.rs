//! The clocks that the client reads, and the instants of a lease.

use std::{ops::Add, time::Duration};

use tokio::time::Instant;

use crate::suspend::SuspendedTime;

/// Tells how much time has passed since it was started.
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

/// The same on a clock that no test stops, for threads that are no tasks.
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

/// An instant of a [`Clock`]: what has passed since it was started.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Time(Duration);

impl Time {
    #[cfg(test)]
    pub(crate) const fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// What has passed since an earlier instant; nothing if it is a later one.
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

/// A clock that goes on while the machine is suspended, where the system has one.
///
/// It is the clock of tokio, plus what that one has missed.
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

    /// Returns at an instant, or soon after the machine woke up behind it: timers stand still in
    /// between.
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

/// For how long a machine that woke up may not notice.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
