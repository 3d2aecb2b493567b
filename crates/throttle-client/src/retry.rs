//! Whether a request is sent again, and when.
//!
//! [`RetryPolicy::pause`] decides, as a pure function of what is known after a failed attempt;
//! [`Plan::run`] performs. Neither knows what a request is.

use std::{fmt, time::Duration};

use tracing::debug;

use crate::{Error, clock::Stopwatch, jitter::jitter};

/// How often and for how long a request that failed is sent again.
///
/// Only what can be repeated without doing harm is repeated at all. The pause before the second
/// attempt is about `first_pause`, and each further one about twice as long as the one before, up to
/// `longest_pause`; chance takes away up to a half of it, so that clients which failed together do
/// not come back together. If an overloaded server says how long to stay away (`Retry-After`, in
/// seconds), that time is added.
///
/// With the defaults a client gets over a server that restarts within three seconds. All pauses
/// together stay below ten seconds, for which a server keeps the place of a waiter whose connection
/// broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// How often a request is sent at most; 0 means the same as 1. Default: 8.
    pub attempts: u32,
    /// The pause before the second attempt. Default: 100 ms.
    pub first_pause: Duration,
    /// What pauses grow up to. Default: 2 s.
    pub longest_pause: Duration,
    /// How much later than the first attempt the last one may begin. A request that waits for a lock
    /// has `block_for` in addition. Default: 10 s.
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

/// What may be sent again, and after what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Repeat {
    /// Twice does the same as once.
    Always,
    /// It asks about this moment.
    Never,
    /// Only if the server did certainly not do it.
    IfNotExecuted,
}

/// What is known after a failed attempt that may be followed by another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The server does not want to do it now.
    Busy { retry_after: Option<Duration> },
    /// The server may have done it.
    MaybeExecuted,
    /// The request did not reach the server.
    NotSent,
}

impl RetryPolicy {
    /// Every request is sent once.
    pub const fn none() -> Self {
        Self {
            attempts: 1,
            first_pause: Duration::ZERO,
            longest_pause: Duration::ZERO,
            budget: Duration::ZERO,
        }
    }

    /// How long to wait before the next attempt; `None` if there shall be none.
    ///
    /// `attempts` have been made, the first of them `elapsed` ago, and the last one ended with
    /// `failure`. `jitter` is a number from 0 to 1.
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
            Repeat::IfNotExecuted => failure != Failure::MaybeExecuted,
        };
        if !may_repeat || attempts >= self.attempts {
            return None;
        }
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let backoff = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        let seconds = backoff.as_secs_f64() * (1.0 - jitter / 2.0);
        let backoff = Duration::try_from_secs_f64(seconds).unwrap_or(backoff);
        let told = match failure {
            Failure::Busy { retry_after } => retry_after.unwrap_or_default(),
            Failure::MaybeExecuted | Failure::NotSent => Duration::ZERO,
        };
        let pause = told.saturating_add(backoff);
        let latest = self.budget.saturating_add(plan.block_for);
        (elapsed.saturating_add(pause) <= latest).then_some(pause)
    }
}

/// An attempt that failed.
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

/// How a certain request is sent until it succeeds or there is no point in trying any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) policy: RetryPolicy,
    pub(crate) repeat: Repeat,
    /// How long the server may take to answer because there is something to wait for. One span for
    /// all attempts together.
    pub(crate) block_for: Duration,
}

impl Plan {
    /// Makes attempts until one succeeds, or returns the error of the last one.
    ///
    /// `attempt` is told how much is left of `block_for`.
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

    /// Pauses of 1, 2, 4, 5, 5 … seconds, if chance takes nothing away.
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
    fn what_may_not_be_repeated_is_not() {
        let busy = Failure::Busy { retry_after: None };
        for (repeat, failure, expected) in [
            (Repeat::Always, Failure::MaybeExecuted, true),
            (Repeat::Always, Failure::NotSent, true),
            (Repeat::Always, busy, true),
            (Repeat::IfNotExecuted, Failure::MaybeExecuted, false),
            (Repeat::IfNotExecuted, Failure::NotSent, true),
            (Repeat::IfNotExecuted, busy, true),
            (Repeat::Never, Failure::MaybeExecuted, false),
            (Repeat::Never, Failure::NotSent, false),
            (Repeat::Never, busy, false),
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
    fn chance_takes_away_up_to_a_half() {
        let plan = plan(Repeat::Always);
        let pause = |jitter| POLICY.pause(&plan, Failure::MaybeExecuted, 1, Duration::ZERO, jitter);
        assert_eq!(pause(0.5), Some(SECOND * 3 / 4));
        assert_eq!(pause(1.0), Some(SECOND / 2));
    }

    #[test]
    fn a_busy_server_is_left_alone_for_as_long_as_it_says() {
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
    fn no_attempt_begins_after_the_budget_to_which_block_for_is_added() {
        let plan = plan(Repeat::Always);
        assert!(pause(plan, Failure::MaybeExecuted, 1, SECOND * 59).is_some());
        assert_eq!(pause(plan, Failure::MaybeExecuted, 1, SECOND * 60), None);

        let waiting = Plan { block_for: SECOND * 30, ..plan };
        assert!(pause(waiting, Failure::MaybeExecuted, 1, SECOND * 89).is_some());
        assert_eq!(pause(waiting, Failure::MaybeExecuted, 1, SECOND * 90), None);
    }

    #[test]
    fn spans_without_end_do_no_harm() {
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

    /// Runs attempts that each take a second and fail as told. Returns what each was told to be left
    /// of `block_for`, and the outcome.
    async fn run(plan: Plan, failures: &[Option<Failure>]) -> (Vec<Duration>, Result<(), usize>) {
        let told = RefCell::new(Vec::new());
        let attempt = |left| {
            told.borrow_mut().push(left);
            let number = told.borrow().len();
            async move {
                tokio::time::sleep(SECOND).await;
                let failure = failures.get(number - 1);
                failure.map_or(Ok(()), |&failure| Err(FailedAttempt { error: number, failure }))
            }
        };
        let outcome = plan.run(attempt).await;
        (told.into_inner(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_go_on_until_one_succeeds() {
        let (told, outcome) = run(plan(Repeat::Always), &[Some(Failure::MaybeExecuted); 3]).await;
        assert_eq!((told.len(), outcome), (4, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_returned_when_there_is_no_point_in_going_on() {
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
        let (told, outcome) = run(plan(Repeat::Always), &[Some(Failure::MaybeExecuted); 100]).await;
        assert_eq!(outcome, Err(told.len()));
        // The last attempt may begin when the budget is about to end, and takes a second.
        assert!(stopwatch.elapsed() <= SECOND * 61);
        assert!(stopwatch.elapsed() >= SECOND * 55);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_asks_only_for_what_is_left_of_the_wait() {
        let waiting = Plan { block_for: SECOND * 4, ..plan(Repeat::Always) };
        let (told, _) = run(waiting, &[Some(Failure::MaybeExecuted); 4]).await;

        // An attempt of one second, and a pause of half a second to one.
        assert_eq!(told[0], SECOND * 4);
        assert!(SECOND * 2 <= told[1] && told[1] <= SECOND * 5 / 2, "{told:?}");
        // And a pause of one to two.
        assert!(told[2] <= SECOND / 2, "{told:?}");
        assert_eq!(told[3..], [Duration::ZERO; 2]);
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
