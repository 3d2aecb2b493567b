//! Instants as numbers, so that they can be passed in, stored and simulated.

use core::{
    ops::{Add, Sub},
    time::Duration,
};

/// An instant, in nanoseconds since an origin that the embedder chooses.
///
/// The core compares instants and adds durations to them. It never asks what time it is. Arithmetic
/// saturates at [`Time::MAX`], 584 years after the origin: a deadline there is never reached.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// An instant that is never reached.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanoseconds` after the origin.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant a nanosecond after this one.
    pub(crate) const fn just_after(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The instant a nanosecond before this one, or the origin.
    pub(crate) const fn just_before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The time since `earlier`; zero if this instant is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// The span in nanoseconds, at most 584 years.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_the_end_of_time_is_never_reached() {
        assert_eq!(Time::from_nanos(1) + Duration::MAX, Time::MAX);
        assert_eq!(Time::ZERO.since(Time::MAX), Duration::ZERO);
    }
}
