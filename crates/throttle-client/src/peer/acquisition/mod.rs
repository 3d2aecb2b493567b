//! AcquireTask for a lock, until it is there, the time is over or nobody wants it any more.
//!
//! Every request is an attempt of its own. The time of whoever asks is the only limit: attempts that get no
//! answer are repeated until then, after pauses that grow, and the last cause is told.

mod attempt;

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use tokio::sync::OwnedMutexGuard;
use tracing::{debug, warn};

use self::attempt::{AttemptError, AttemptOutcome};
use super::{
    CloseMode, LONGEST_BLOCK_FOR, Lock, LockError, Peer, PeerInner, TARGET,
    backoff::{Backoff, LastAttempt, OutageWarnings},
    lock_error::ErrorContext,
    withdraw::WithdrawGuard,
};
use crate::{Error, clock::Time, jitter::jitter, sequence::OnStale};

/// A lock that is asked for.
pub(super) struct Acquisition {
    peer: Peer,
    semaphore: String,
    count: u64,
    wait_at_most: Option<Duration>,
    start: Time,
    /// When to give up.
    end: Option<Time>,
    backoff: Backoff,
    warnings: OutageWarnings,
    last_attempt: LastAttempt,
    is_waiting: bool,
}

impl Acquisition {
    pub(super) fn new(
        peer: Peer,
        semaphore: String,
        count: u64,
        wait_at_most: Option<Duration>,
    ) -> Self {
        let start = peer.inner().now();
        let end =
            wait_at_most.map(|span| start + if span.is_zero() { TRY_LOCK_TIMEOUT } else { span });
        Self {
            peer,
            semaphore,
            count,
            wait_at_most,
            start,
            end,
            backoff: Backoff::default(),
            warnings: OutageWarnings::default(),
            last_attempt: LastAttempt::default(),
            is_waiting: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<Lock, LockError> {
        let inner = Arc::clone(self.peer.inner());
        // A name that nobody can ask for is refused before anything is begun.
        if let Err(error) = inner.client.first_url().join_name("", &self.semaphore) {
            return Err(self.error_context().failed(error));
        }
        let acquiring = match self.before_end(self.wait_until_alone(&inner)).await {
            Some(acquiring) => acquiring?,
            // Only an answer to a release is missing then.
            None if !inner.releasing.borrow().is_empty() => {
                return Err(self.error_context().unreachable(inner.no_answer_error()));
            }
            None => return Err(self.not_in_time()),
        };
        let (outer, is_nested) = {
            let state = inner.state();
            (state.loss.subscribe(), state.lease.holds_anything())
        };
        let mut guard = WithdrawGuard {
            inner: Arc::clone(&inner),
            semaphore: self.semaphore.clone(),
            peer: None,
            on_stale: OnStale::Fail,
            acquire_task: None,
            acquiring: Some(acquiring),
        };
        loop {
            let failure = match self.attempt(&mut guard, &outer, is_nested).await {
                Ok(AttemptOutcome::Granted(lock)) => {
                    guard.peer = None;
                    return Ok(lock);
                }
                Ok(AttemptOutcome::RetryNow) => continue,
                Ok(AttemptOutcome::RetryAfterPause) => None,
                Err(AttemptError::Error(error)) if is_transient(&error) => Some(error),
                Err(failure) => return Err(self.fail(guard, failure).await),
            };
            let mut pause = self.backoff.next(jitter());
            if let Some(error) = failure {
                pause += error.retry_after().unwrap_or_default().min(LONGEST_BLOCK_FOR);
                self.log_failure(&error);
                self.last_attempt = LastAttempt { error: Some(error), ..LastAttempt::default() };
                if self.is_try_lock() {
                    return Err(self.out_of_time(guard).await);
                }
            }
            let pause = inner.clock.sleep_until(inner.now() + pause);
            if self.before_end(pause).await.is_none() {
                return Err(self.out_of_time(guard).await);
            }
        }
    }

    /// Waits until nobody else asks for a lock of this peer, and nothing is being given back: it might be of a
    /// level at which this one would be refused.
    async fn wait_until_alone(
        &self,
        inner: &Arc<PeerInner>,
    ) -> Result<OwnedMutexGuard<()>, LockError> {
        let acquiring = Arc::clone(&inner.acquiring);
        let acquiring = if self.is_try_lock() {
            let mut releasing = inner.releasing.subscribe();
            tokio::select! {
                biased;
                acquiring = Arc::clone(&acquiring).lock_owned() => acquiring,
                // Who holds it waits for a lock itself, so this one is not to be had at this moment; unless
                // it has given up, and withdraws.
                _ = releasing.wait_for(BTreeSet::is_empty) => {
                    acquiring.try_lock_owned().map_err(|_| self.not_in_time())?
                }
            }
        } else {
            acquiring.lock_owned().await
        };
        loop {
            // Looked at before: as long as nobody else asks, there can only be less afterwards. So if it was
            // not held, what is being given back now is all there is.
            let was_held = inner.holds(&self.semaphore);
            let mut releasing = inner.releasing.subscribe();
            // The sender is in `shared`, so there is always an answer.
            let _ = releasing.wait_for(BTreeSet::is_empty).await;
            if !was_held {
                return Ok(acquiring);
            }
            if inner.holds(&self.semaphore) {
                return Err(self.error_context().already_held());
            }
        }
    }

    /// What comes of something, unless the time is over before.
    async fn before_end<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(end) = self.end else { return Some(work.await) };
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.peer.inner().clock.sleep_until(end) => None,
        }
    }

    /// No lock comes of it. Returns why, when what may be left of it at the server is withdrawn.
    async fn fail(self, mut guard: WithdrawGuard, failure: AttemptError) -> LockError {
        match failure {
            AttemptError::NotInTime => self.out_of_time(guard).await,
            AttemptError::Lost(lost) => {
                guard.peer = None;
                self.error_context().lost(lost)
            }
            AttemptError::Error(error) => {
                // Whatever was refused is not pending, and whatever else failed may be.
                if error.is_refusal() {
                    guard.peer = None;
                }
                self.withdraw(guard).await;
                self.error_context().failed(error)
            }
        }
    }

    /// The time is over.
    async fn out_of_time(mut self, guard: WithdrawGuard) -> LockError {
        let now = guard.inner.now();
        let silence =
            mem::take(&mut self.last_attempt).silence(now, || guard.inner.no_answer_error());
        match silence {
            Some(error) => {
                drop(guard);
                self.error_context().unreachable(error)
            }
            None => {
                self.withdraw(guard).await;
                self.not_in_time()
            }
        }
    }

    /// Gives up the guard, and waits a little for the server to hear of it.
    async fn withdraw(&self, mut guard: WithdrawGuard) {
        let inner = Arc::clone(&guard.inner);
        let left = async {
            if self.peer.is_last_handle() {
                // With the peer goes its guard.
                guard.peer = None;
                inner.close(CloseMode::Remove).await;
            } else if let Some(withdrawal) = guard.withdraw() {
                // It ends early only if the runtime does.
                let _ = withdrawal.await;
            }
        };
        tokio::select! {
            biased;
            () = left => {}
            () = inner.clock.sleep_until(inner.now() + WITHDRAW_TIMEOUT) => {}
        }
    }

    fn is_try_lock(&self) -> bool {
        self.wait_at_most.is_some_and(|span| span.is_zero())
    }

    fn error_context(&self) -> ErrorContext {
        self.peer.inner().error_context(&self.semaphore)
    }

    fn not_in_time(&self) -> LockError {
        self.error_context().not_in_time(self.wait_at_most.unwrap_or_default())
    }

    fn answered(&mut self) {
        self.last_attempt = LastAttempt { is_answered: true, ..LastAttempt::default() };
        self.warnings.answered();
    }

    fn log_failure(&mut self, error: &Error) {
        let inner = self.peer.inner();
        let (semaphore, url) = (&*self.semaphore, &*inner.server);
        debug!(target: TARGET, semaphore, url, %error, "no answer about a lock");
        if let Some(failing) = self.warnings.failed(inner.now(), self.last_attempt.due) {
            let failing = humantime::format_duration(Duration::from_secs(failing.as_secs()));
            warn!(
                target: TARGET, semaphore, url, %error, %failing,
                "cannot ask for a lock, and goes on trying"
            );
        }
    }
}

/// Whether the next attempt may end otherwise. A server that is broken says so and ends, and another one
/// follows it.
fn is_transient(error: &Error) -> bool {
    let may_recover = matches!(error, Error::Refused { .. }) || error.failure().is_some();
    may_recover && !error.is_refusal()
}

/// For how long the one attempt may take of somebody who does not wait.
const TRY_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a withdrawal is waited for. It goes on in the background.
const WITHDRAW_TIMEOUT: Duration = Duration::from_millis(250);
