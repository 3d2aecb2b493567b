//! How long the machine was suspended, which the clock of the standard library does not count.
//!
//! On Linux and on Apple's systems that clock stops while the machine is suspended, and another one goes on.
//! The difference is the suspended time. On Windows one clock counts both, so there is nothing to add. Other
//! systems are not known, and nothing is added.

use std::time::Duration;

/// The time for which the machine was suspended since this was started.
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

    /// The time suspended since the boot, plus an arbitrary constant.
    pub(super) type Start = Duration;

    pub(super) fn start() -> Start {
        let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        // This order can make the difference too small, by the time between both reads, but not too large.
        let boot = read(ClockId::Boottime);
        boot.saturating_sub(read(ClockId::Monotonic))
    }

    pub(super) fn since(then: Start) -> Duration {
        start().saturating_sub(then)
    }
}

/// `CLOCK_MONOTONIC` includes suspended time here. The standard library reads `CLOCK_UPTIME_RAW`, which does
/// not.
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

    /// Both clocks advance equally while the machine is awake.
    #[test]
    fn no_suspended_time_passes_while_the_machine_is_awake() {
        let suspended = SuspendedTime::start();
        for _ in 0..1_000 {
            assert!(suspended.elapsed() < Duration::from_secs(1));
        }
    }
}
