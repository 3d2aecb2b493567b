//! How often the log is told of what may happen very often.

use std::time::Duration;

use throttle_core::Time;

/// Lets something happen at most once in an interval, such as a line in the log. What is to be told
/// of those times that it did not let through is up to its owner.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimit {
    last: Option<Time>,
}

impl RateLimit {
    /// Whether `interval` has passed since the last time that this was so. The first time it has.
    pub fn admits(&mut self, now: Time, interval: Duration) -> bool {
        let admits = self.last.is_none_or(|last| now - last >= interval);
        if admits {
            self.last = Some(now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_and_then_once_in_an_interval_something_is_let_through() {
        let mut limit = RateLimit::default();
        let admitted: Vec<_> = [0, 0, 9, 10, 11, 19, 25, 34, 35]
            .into_iter()
            .filter(|&now| limit.admits(Time::from_nanos(now), Duration::from_nanos(10)))
            .collect();
        assert_eq!(admitted, [0, 10, 25, 35]);
    }
}
