//! For how long the machine slept: what the clock of the standard library has missed.
//!
//! On Linux and on the systems of Apple that clock stands still while the machine is suspended, and another
//! one goes on. What that one gains is the sleep. Windows has one clock for both, and there is nothing to
//! add; of other systems we do not know.

use std::time::Duration;

/// Tells for how long the machine has been suspended since this was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SuspendedTime(system::Start);

impl SuspendedTime {
    pub(crate) fn start() -> Self {
        Self(system::start())
    }

    pub(crate) fn elapsed(self) -> Duration {
        system::since(self.0)
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
mod system {
    use super::Duration;
    use rustix::time::{ClockId, clock_gettime};

    /// The sleep since the machine was started, or an arbitrary constant more.
    pub(super) type Start = Duration;

    pub(super) fn start() -> Start {
        let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        // In this order the difference is too small, if anything, by the time between.
        let boot = read(ClockId::Boottime);
        boot.saturating_sub(read(ClockId::Monotonic))
    }

    pub(super) fn since(then: Start) -> Duration {
        start().saturating_sub(then)
    }
}

/// `CLOCK_MONOTONIC` goes on here; that of the standard library is `CLOCK_UPTIME_RAW`, and does not.
#[cfg(target_vendor = "apple")]
mod system {
    use std::time::Instant;

    use super::Duration;
    use rustix::time::{ClockId, clock_gettime};

    pub(super) type Start = (Duration, Instant);

    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub(super) fn start() -> Start {
        let monotonic = clock_gettime(ClockId::Monotonic);
        (Duration::try_from(monotonic).unwrap_or_default(), Instant::now())
    }

    pub(super) fn since((monotonic, instant): Start) -> Duration {
        let (monotonic_now, now) = start();
        monotonic_now.saturating_sub(monotonic).saturating_sub(now.duration_since(instant))
    }
}

#[cfg(not(any(target_os = "android", target_os = "linux", target_vendor = "apple")))]
mod system {
    use super::Duration;

    #[derive(Clone, Copy, Debug)]
    pub(super) struct Start;

    pub(super) fn start() -> Start {
        Start
    }

    pub(super) fn since(_: Start) -> Duration {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads two clocks that count the same while the machine is awake.
    #[test]
    fn a_machine_that_is_awake_does_not_sleep() {
        let suspended = SuspendedTime::start();
        for _ in 0..1_000 {
            assert!(suspended.elapsed() < Duration::from_secs(1));
        }
    }
}
