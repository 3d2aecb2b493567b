//! A limit on how often a line is written to the log.

use std::time::Duration;

use throttle_core::Time;

/// Admits something, such as a line of the log, at most once in an interval.
///
/// It does not count what it did not admit; its owner may.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimit {
    last: Option<Time>,
}

impl RateLimit {
    /// Whether `interval` has passed since the last call that was admitted. The first call always is.
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
    fn the_first_call_is_admitted_and_then_one_in_each_interval() {
        let mut limit = RateLimit::default();
        let admitted: Vec<_> = [0, 0, 9, 10, 11, 19, 25, 34, 35]
            .into_iter()
            .filter(|&now| limit.admits(Time::from_nanos(now), Duration::from_nanos(10)))
            .collect();
        assert_eq!(admitted, [0, 10, 25, 35]);
    }
}
