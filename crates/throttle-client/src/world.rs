//! Where the world enters: the only place that reads a clock and draws a random number.

use std::{
    ops::Add,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::sleep::Sleep;

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
    sleep: Sleep,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { stopwatch: Stopwatch::start(), sleep: Sleep::start() }
    }

    pub(crate) fn now(self) -> Time {
        Time(self.stopwatch.elapsed().saturating_add(self.sleep.elapsed()))
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

/// A number from 0 to 1, so that clients which failed together do not come back together.
#[expect(clippy::disallowed_methods, reason = "this is where randomness enters")]
pub(crate) fn jitter() -> f64 {
    rand::random()
}

/// A number that is greater than all that this process has drawn. As far as clocks are right it is also
/// greater than those of processes that were before: it begins with the microseconds since 1970.
pub(crate) fn next_number() -> u64 {
    LATEST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1
}

/// From now on numbers are greater than this one. Returns whether that is possible: they have to stay
/// within 53 bits.
pub(crate) fn continue_numbers_after(number: u64) -> bool {
    let is_possible = number <= LARGEST_START;
    if is_possible {
        LATEST_NUMBER.fetch_max(number, Ordering::Relaxed);
    }
    is_possible
}

static LATEST_NUMBER: LazyLock<AtomicU64> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AtomicU64::new(
        u64::try_from(since.as_micros()).map_or(LARGEST_START, |it| it.min(LARGEST_START)),
    )
});

/// Leaves room below 2^53 for more numbers than a process can draw: a million a second for a century.
const LARGEST_START: u64 = 1 << 52;
