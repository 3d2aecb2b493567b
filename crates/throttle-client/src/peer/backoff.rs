//! Pauses between requests for a lock, warnings about an outage, and the error when the time is over.

use std::time::Duration;

use crate::{Error, clock::Time};

/// Pauses that double up to [`LONGEST_PAUSE`], each shortened at random by up to a half.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    count: u32,
}

impl Backoff {
    /// The next pause. `jitter` is a number from 0 to 1.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.count)).min(LONGEST_PAUSE);
        self.count = self.count.saturating_add(1);
        pause.mul_f64(1.0 - jitter / 2.0)
    }

    /// Starts again with the first pause.
    pub(super) fn reset(&mut self) {
        self.count = 0;
    }
}

/// When to warn that the server does not answer: after [`FIRST_WARNING_AFTER`], then every
/// [`WARNING_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct OutageWarnings {
    since: Option<Time>,
    next: Duration,
}

impl OutageWarnings {
    /// Records a failed attempt whose answer was `due` at some instant. Returns the length of the outage if a
    /// warning is due now.
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

    /// Records an answer, which ends the outage.
    pub(super) fn answered(&mut self) {
        self.since = None;
    }
}

/// What is known from the latest attempts.
#[derive(Debug, Default)]
pub(super) struct LastAttempt {
    /// When the answer to the request in flight is due.
    pub(super) due: Option<Time>,
    /// Whether the server has answered since the last failure.
    pub(super) is_answered: bool,
    /// Why the latest attempt failed, if there was no answer since.
    pub(super) error: Option<Error>,
}

impl LastAttempt {
    /// The error for a caller whose time is over: the last failure, or `no_answer` if an answer is overdue.
    /// `None` if the server answered, so that the lock was not free.
    pub(super) fn missing_answer(
        self,
        now: Time,
        no_answer: impl FnOnce() -> Error,
    ) -> Option<Error> {
        let is_missing = |due| !self.is_answered || due <= now;
        self.error.or_else(|| self.due.is_some_and(is_missing).then(no_answer))
    }
}

/// The first pause, before jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, before jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long an outage lasts before the first warning.
const FIRST_WARNING_AFTER: Duration = Duration::from_secs(3);

/// The time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_can_be_reset() {
        let mut backoff = Backoff::default();
        let all: Vec<_> = (0..7).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(all, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        backoff.reset();
        assert_eq!(backoff.next(1.0).as_millis(), 50);
        assert!((0..100).all(|_| backoff.next(0.0) <= LONGEST_PAUSE));
    }

    #[test]
    fn an_outage_is_reported_after_seconds_and_then_every_half_minute() {
        let mut warnings = OutageWarnings::default();
        let said: Vec<_> =
            (0..70).filter(|&second| warnings.failed(at(second), None).is_some()).collect();
        assert_eq!(said, [3, 33, 63]);
        warnings.answered();
        assert_eq!(warnings.failed(at(100), Some(at(120))), None);
        assert_eq!(warnings.failed(at(104), None), Some(Duration::from_secs(4)));
        warnings.answered();
        // The outage starts when the answer was due, which is before the failure.
        assert_eq!(warnings.failed(at(200), Some(at(190))), Some(Duration::from_secs(10)));
    }
}
