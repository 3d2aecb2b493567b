//! How long to wait before the server is asked again, and when to tell somebody that nothing moves on.

use std::time::Duration;

use crate::world::Time;

/// Pauses that grow, of which chance takes away up to a half.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    count: u32,
}

impl Pauses {
    /// The next one.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.count)).min(LONGEST);
        self.count = self.count.saturating_add(1);
        pause.mul_f64(1.0 - jitter / 2.0)
    }

    /// The next one is short again.
    pub(super) fn reset(&mut self) {
        self.count = 0;
    }
}

/// When to say that the server cannot be asked: after some seconds, and then now and then.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    since: Option<Time>,
    next: Duration,
}

impl Complaints {
    /// An attempt failed. Returns for how long all have failed, if that is to be said now.
    pub(super) fn failed(&mut self, now: Time) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(|| {
            self.next = FIRST_COMPLAINT;
            now
        });
        let failing = now.since(since);
        (self.next <= failing).then(|| {
            self.next = failing + COMPLAINT_PAUSE;
            failing
        })
    }

    /// The server answered.
    pub(super) fn answered(&mut self) {
        self.since = None;
    }
}

/// The first pause, before chance takes away a part.
const FIRST: Duration = Duration::from_millis(100);

/// What pauses grow up to.
const LONGEST: Duration = Duration::from_secs(2);

/// For how long attempts fail before that is said.
const FIRST_COMPLAINT: Duration = Duration::from_secs(3);

/// Until it is said again.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut pauses = Pauses::default();
        let all: Vec<_> = (0..7).map(|_| pauses.next(0.0).as_millis()).collect();
        assert_eq!(all, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        pauses.reset();
        assert_eq!(pauses.next(1.0).as_millis(), 50);
        assert!((0..100).all(|_| pauses.next(0.0) <= LONGEST));
    }

    #[test]
    fn what_fails_for_seconds_is_said_and_then_every_half_minute() {
        let mut complaints = Complaints::default();
        let said: Vec<_> =
            (0..70).filter(|&second| complaints.failed(at(second)).is_some()).collect();
        assert_eq!(said, [3, 33, 63]);
        complaints.answered();
        assert_eq!(complaints.failed(at(100)), None);
        assert_eq!(complaints.failed(at(104)), Some(Duration::from_secs(4)));
    }
}
