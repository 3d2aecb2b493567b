//! How long to wait before the server is asked again, when to tell somebody that nothing moves on, and what
//! to say when the time is over.

use std::time::Duration;

use crate::{Error, clock::Time};

/// Backoff that grow, of which chance takes away up to a half.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    count: u32,
}

impl Backoff {
    /// The next one.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.count)).min(LONGEST_PAUSE);
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
pub(super) struct OutageWarnings {
    since: Option<Time>,
    next: Duration,
}

impl OutageWarnings {
    /// An attempt failed that should have been answered when it was `due`. Returns for how long all have
    /// failed, if that is to be said now.
    pub(super) fn failed(&mut self, now: Time, due: Option<Time>) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(|| {
            self.next = FIRST_WARNING_AFTER;
            due.map_or(now, |due| due.min(now))
        });
        let failing = now.since(since);
        (self.next <= failing).then(|| {
            self.next = failing + WARNING_INTERVAL;
            failing
        })
    }

    /// The server answered.
    pub(super) fn answered(&mut self) {
        self.since = None;
    }
}

/// What the latest attempts came to.
#[derive(Debug, Default)]
pub(super) struct LastAttempt {
    /// When the answer to the request that was sent last was expected, if it has not come.
    pub(super) due: Option<Time>,
    /// Whether the server has answered since anything failed.
    pub(super) is_answered: bool,
    /// Why the latest attempt failed, if none was answered since.
    pub(super) error: Option<Error>,
}

impl LastAttempt {
    /// Why it is not known, at the end of all time, that the lock was not free.
    pub(super) fn silence(self, now: Time, no_answer: impl FnOnce() -> Error) -> Option<Error> {
        let is_missing = |due| !self.is_answered || due <= now;
        self.error.or_else(|| self.due.is_some_and(is_missing).then(no_answer))
    }
}

/// The first pause, before chance takes away a part.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What pauses grow up to.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// For how long attempts fail before that is said.
const FIRST_WARNING_AFTER: Duration = Duration::from_secs(3);

/// Until it is said again.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::default();
        let all: Vec<_> = (0..7).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(all, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        backoff.reset();
        assert_eq!(backoff.next(1.0).as_millis(), 50);
        assert!((0..100).all(|_| backoff.next(0.0) <= LONGEST_PAUSE));
    }

    #[test]
    fn what_fails_for_seconds_is_said_and_then_every_half_minute() {
        let mut warnings = OutageWarnings::default();
        let said: Vec<_> =
            (0..70).filter(|&second| warnings.failed(at(second), None).is_some()).collect();
        assert_eq!(said, [3, 33, 63]);
        warnings.answered();
        assert_eq!(warnings.failed(at(100), Some(at(120))), None);
        assert_eq!(warnings.failed(at(104), None), Some(Duration::from_secs(4)));
        warnings.answered();
        // It was silent for a while before it was found to have failed.
        assert_eq!(warnings.failed(at(200), Some(at(190))), Some(Duration::from_secs(10)));
    }
}
