//! Decides whether and when a failed request is sent again.
//!
//! [`Error::failure`] says what an error means for another attempt. [`RetryPolicy::pause`] decides, as a pure
//! function of what is known after a failed attempt; [`Plan::run`] carries it out. Neither `pause` nor `run` knows what
//! a request is.

use std::{fmt, time::Duration};

use throttle_wire::Code;
use tracing::debug;

use crate::{Error, clock::Stopwatch, jitter::jitter};

/// How often and for how long a failed request is sent again.
///
/// Only requests that can be repeated without harm are repeated. The pause before the second attempt is about
/// `first_pause`, and each further pause about twice as long as the one before, up to `longest_pause`. Each
/// pause is shortened at random by up to a half, so that clients that failed together do not retry together.
/// If an overloaded server sends `Retry-After` (in seconds), that time is added.
///
/// With the defaults a client survives a restart of the server that takes three seconds. All pauses together
/// stay below ten seconds, for which a server keeps the place of a waiter whose connection broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// The maximum number of attempts; 0 means the same as 1. Default: 8.
    pub attempts: u32,
    /// The pause before the second attempt. Default: 100 ms.
    pub first_pause: Duration,
    /// The upper limit of the pauses. Default: 2 s.
    pub longest_pause: Duration,
    /// How much later than the first attempt the last one may begin. A request that waits for a lock may take
    /// `block_for` in addition. Default: 10 s.
    pub budget: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 8,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
            budget: Duration::from_secs(10),
        }
    }
}

/// When a request may be sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Repeat {
    /// Two executions have the same effect as one.
    Always,
    /// The request asks about the present.
    Never,
    /// Only if the server certainly did not execute it.
    IfNotExecuted,
}

/// What is known after a failed attempt that may be repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The server is overloaded, and did not execute the request.
    Busy { retry_after: Option<Duration> },
    /// The server may have executed the request.
    MaybeExecuted,
    /// The request did not reach the server.
    NotSent,
    /// The server may have executed the request, could not make that durable, and is about to end.
    StoreFailed { retry_after: Option<Duration> },
}

impl Error {
    /// What the failure means for another attempt; `None` if that would end the same way.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match *self {
            Self::Connect { .. } => Some(Failure::NotSent),
            Self::Timeout { .. } | Self::Transport { .. } => Some(Failure::MaybeExecuted),
            Self::Refused { code: Code::StoreFailed, retry_after, .. } => {
                Some(Failure::StoreFailed { retry_after })
            }
            Self::Refused { status: 429 | 503, retry_after, .. }
            | Self::UnexpectedAnswer { status: 429 | 503, retry_after, .. } => {
                Some(Failure::Busy { retry_after })
            }
            Self::UnexpectedAnswer { status, .. } => {
                (!is_final(status)).then_some(Failure::MaybeExecuted)
            }
            Self::InvalidName { .. }
            | Self::InvalidRequest { .. }
            | Self::InvalidSetting { .. }
            | Self::InvalidUrl { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// Whether a lock request, which is sent until its time is over, may succeed later. That includes a server
    /// with an internal error, because such a server ends and another one follows it.
    pub(crate) fn is_transient(&self) -> bool {
        let may_recover = matches!(self, Self::Refused { .. }) || self.failure().is_some();
        may_recover && !self.is_refusal()
    }
}

/// Whether a status that does not come from Throttle will be the same for the next attempt: the URL belongs
/// to another server, a proxy asks for credentials, or the request is too large for it. Other errors may be
/// over soon, such as the 404 of a proxy without a backend.
fn is_final(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403 | 407 | 413 | 414 | 431)
}

impl RetryPolicy {
    /// Sends every request once.
    pub const fn none() -> Self {
        Self {
            attempts: 1,
            first_pause: Duration::ZERO,
            longest_pause: Duration::ZERO,
            budget: Duration::ZERO,
        }
    }

    /// The pause before the next attempt; `None` if there must not be one.
    ///
    /// `attempts` have been made, the first of them `elapsed` ago, and the last one ended with `failure`.
    /// `jitter` is a number from 0 to 1.
    fn pause(
        &self,
        plan: &Plan,
        failure: Failure,
        attempts: u32,
        elapsed: Duration,
        jitter: f64,
    ) -> Option<Duration> {
        let may_repeat = match plan.repeat {
            Repeat::Always => true,
            Repeat::Never => false,
            Repeat::IfNotExecuted => matches!(failure, Failure::Busy { .. } | Failure::NotSent),
        };
        if !may_repeat || attempts >= self.attempts {
            return None;
        }
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let backoff = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        let seconds = backoff.as_secs_f64() * (1.0 - jitter / 2.0);
        let backoff = Duration::try_from_secs_f64(seconds).unwrap_or(backoff);
        let requested = match failure {
            Failure::Busy { retry_after } | Failure::StoreFailed { retry_after } => {
                retry_after.unwrap_or_default()
            }
            Failure::MaybeExecuted | Failure::NotSent => Duration::ZERO,
        };
        let pause = requested.saturating_add(backoff);
        let latest = self.budget.saturating_add(plan.block_for);
        (elapsed.saturating_add(pause) <= latest).then_some(pause)
    }
}

/// The error of a failed attempt.
#[derive(Debug)]
pub(crate) struct FailedAttempt<E> {
    pub(crate) error: E,
    /// `None` if another attempt would end the same way.
    pub(crate) failure: Option<Failure>,
}

impl From<Error> for FailedAttempt<Error> {
    fn from(error: Error) -> Self {
        Self { failure: error.failure(), error }
    }
}

/// How one request is sent until it succeeds or must not be repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) policy: RetryPolicy,
    pub(crate) repeat: Repeat,
    /// How long the server may delay its answer because the lock is not free. Shared by all attempts.
    pub(crate) block_for: Duration,
}

impl Plan {
    /// Makes attempts until one succeeds, or returns the error of the last one.
    ///
    /// The argument of `attempt` is what is left of `block_for`.
    pub(crate) async fn run<T, E, F>(&self, mut attempt: impl FnMut(Duration) -> F) -> Result<T, E>
    where
        E: fmt::Display,
        F: Future<Output = Result<T, FailedAttempt<E>>>,
    {
        let stopwatch = Stopwatch::start();
        let mut left = self.block_for;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let FailedAttempt { error, failure } = match attempt(left).await {
                Ok(success) => return Ok(success),
                Err(failed) => failed,
            };
            let elapsed = stopwatch.elapsed();
            let pause = failure
                .and_then(|failure| self.policy.pause(self, failure, attempts, elapsed, jitter()));
            let Some(pause) = pause else { return Err(error) };
            debug!(target: "throttle::client", attempts, %error, ?pause, "trying again");
            tokio::time::sleep(pause).await;
            left = self.block_for.saturating_sub(stopwatch.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Pauses of 1, 2, 4, 5, 5 … seconds, before jitter.
    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 100,
        first_pause: SECOND,
        longest_pause: Duration::from_secs(5),
        budget: Duration::from_secs(60),
    };

    fn plan(repeat: Repeat) -> Plan {
        Plan { policy: POLICY, repeat, block_for: Duration::ZERO }
    }

    fn pause(plan: Plan, failure: Failure, attempts: u32, elapsed: Duration) -> Option<Duration> {
        plan.policy.pause(&plan, failure, attempts, elapsed, 0.0)
    }

    #[test]
    fn a_request_is_repeated_only_if_its_kind_allows_that() {
        let busy = Failure::Busy { retry_after: None };
        let store_failed = Failure::StoreFailed { retry_after: None };
        for (repeat, failure, expected) in [
            (Repeat::Always, Failure::MaybeExecuted, true),
            (Repeat::Always, Failure::NotSent, true),
            (Repeat::Always, busy, true),
            (Repeat::Always, store_failed, true),
            (Repeat::IfNotExecuted, Failure::MaybeExecuted, false),
            (Repeat::IfNotExecuted, Failure::NotSent, true),
            (Repeat::IfNotExecuted, busy, true),
            (Repeat::IfNotExecuted, store_failed, false),
            (Repeat::Never, Failure::MaybeExecuted, false),
            (Repeat::Never, Failure::NotSent, false),
            (Repeat::Never, busy, false),
            (Repeat::Never, store_failed, false),
        ] {
            let pause = pause(plan(repeat), failure, 1, Duration::ZERO);
            assert_eq!(pause.is_some(), expected, "{repeat:?} {failure:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let plan = plan(Repeat::Always);
        let pauses = [1, 2, 3, 4, 5, 99]
            .map(|attempts| pause(plan, Failure::MaybeExecuted, attempts, Duration::ZERO).unwrap());
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5].map(Duration::from_secs));
    }

    #[test]
    fn jitter_shortens_a_pause_by_up_to_a_half() {
        let plan = plan(Repeat::Always);
        let pause = |jitter| POLICY.pause(&plan, Failure::MaybeExecuted, 1, Duration::ZERO, jitter);
        assert_eq!(pause(0.5), Some(SECOND * 3 / 4));
        assert_eq!(pause(1.0), Some(SECOND / 2));
    }

    #[test]
    fn retry_after_is_added_to_the_pause() {
        let busy = |seconds| Failure::Busy { retry_after: Some(Duration::from_secs(seconds)) };
        let plan = plan(Repeat::Always);
        assert_eq!(pause(plan, busy(7), 1, Duration::ZERO), Some(SECOND * 8));
        assert_eq!(pause(plan, busy(59), 1, Duration::ZERO), Some(SECOND * 60));
        assert_eq!(pause(plan, busy(60), 1, Duration::ZERO), None);
        assert_eq!(pause(plan, busy(u64::MAX), 1, Duration::ZERO), None);
    }

    #[test]
    fn attempts_are_limited_in_number() {
        let plan = plan(Repeat::Always);
        assert!(pause(plan, Failure::MaybeExecuted, 99, Duration::ZERO).is_some());
        assert_eq!(pause(plan, Failure::MaybeExecuted, 100, Duration::ZERO), None);

        for policy in [RetryPolicy::none(), RetryPolicy { attempts: 0, ..POLICY }] {
            assert_eq!(pause(Plan { policy, ..plan }, Failure::NotSent, 1, Duration::ZERO), None);
        }
    }

    #[test]
    fn no_attempt_begins_after_the_budget_plus_block_for() {
        let plan = plan(Repeat::Always);
        assert!(pause(plan, Failure::MaybeExecuted, 1, SECOND * 59).is_some());
        assert_eq!(pause(plan, Failure::MaybeExecuted, 1, SECOND * 60), None);

        let waiting = Plan { block_for: SECOND * 30, ..plan };
        assert!(pause(waiting, Failure::MaybeExecuted, 1, SECOND * 89).is_some());
        assert_eq!(pause(waiting, Failure::MaybeExecuted, 1, SECOND * 90), None);
    }

    #[test]
    fn endless_durations_do_not_overflow() {
        let policy = RetryPolicy {
            attempts: u32::MAX,
            first_pause: Duration::MAX,
            longest_pause: Duration::MAX,
            budget: Duration::MAX,
        };
        let plan = Plan { policy, repeat: Repeat::Always, block_for: Duration::MAX };
        assert_eq!(
            pause(plan, Failure::MaybeExecuted, u32::MAX - 1, Duration::MAX),
            Some(Duration::MAX)
        );
        let busy = Failure::Busy { retry_after: Some(Duration::MAX) };
        assert!(policy.pause(&plan, busy, 1, SECOND, 1.0).is_some());
    }

    /// Makes attempts of one second each, which fail with `failures`. Returns the `block_for` of each
    /// attempt, and the outcome.
    async fn run(plan: Plan, failures: &[Option<Failure>]) -> (Vec<Duration>, Result<(), usize>) {
        let waits = RefCell::new(Vec::new());
        let attempt = |left| {
            waits.borrow_mut().push(left);
            let attempt = waits.borrow().len();
            async move {
                tokio::time::sleep(SECOND).await;
                let failure = failures.get(attempt - 1);
                failure.map_or(Ok(()), |&failure| Err(FailedAttempt { error: attempt, failure }))
            }
        };
        let outcome = plan.run(attempt).await;
        (waits.into_inner(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_continue_until_one_succeeds() {
        let (waits, outcome) = run(plan(Repeat::Always), &[Some(Failure::MaybeExecuted); 3]).await;
        assert_eq!((waits.len(), outcome), (4, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_returned_when_the_request_must_not_be_repeated() {
        let failures =
            [Some(Failure::NotSent), Some(Failure::MaybeExecuted), Some(Failure::NotSent)];
        let (_, outcome) = run(plan(Repeat::IfNotExecuted), &failures).await;
        assert_eq!(outcome, Err(2));

        let (_, outcome) = run(plan(Repeat::Always), &[None]).await;
        assert_eq!(outcome, Err(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_attempts_that_all_fail() {
        let stopwatch = Stopwatch::start();
        let (waits, outcome) =
            run(plan(Repeat::Always), &[Some(Failure::MaybeExecuted); 100]).await;
        assert_eq!(outcome, Err(waits.len()));
        // The last attempt may begin at the end of the budget, and takes a second.
        assert!(stopwatch.elapsed() <= SECOND * 61);
        assert!(stopwatch.elapsed() >= SECOND * 55);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_asks_only_for_what_is_left_of_the_wait() {
        let waiting = Plan { block_for: SECOND * 4, ..plan(Repeat::Always) };
        let (waits, _) = run(waiting, &[Some(Failure::MaybeExecuted); 4]).await;

        // After an attempt of one second, and a pause of half a second to one.
        assert_eq!(waits[0], SECOND * 4);
        assert!(SECOND * 2 <= waits[1] && waits[1] <= SECOND * 5 / 2, "{waits:?}");
        // After another pause of one to two seconds.
        assert!(waits[2] <= SECOND / 2, "{waits:?}");
        assert_eq!(waits[3..], [Duration::ZERO; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_tries_for_three_to_ten_seconds_without_a_server() {
        let plan = Plan { policy: RetryPolicy::default(), ..plan(Repeat::Always) };
        let stopwatch = Stopwatch::start();
        let mut attempts = 0;
        let outcome: Result<(), &str> = plan
            .run(|_| {
                attempts += 1;
                async { Err(FailedAttempt { error: "refused", failure: Some(Failure::NotSent) }) }
            })
            .await;
        assert_eq!((attempts, outcome), (8, Err("refused")));
        assert!(stopwatch.elapsed() > SECOND * 3);
        assert!(stopwatch.elapsed() < SECOND * 10);
    }
}
