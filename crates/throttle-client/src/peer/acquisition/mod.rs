//! Asks for a lock until it is granted, the time is over, or the caller drops the request.
//!
//! Each request is one [attempt]. Attempts without an answer are repeated with growing pauses until the
//! caller's time is over. The error then has the cause of the last failure.

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

/// A request for a lock in progress.
pub(super) struct Acquisition {
    peer: Peer,
    semaphore: String,
    count: u64,
    wait_at_most: Option<Duration>,
    start: Time,
    end: Option<Time>,
    backoff: Backoff,
    warnings: OutageWarnings,
    last_attempt: LastAttempt,
    /// Whether the server has queued the request, which is logged once.
    is_queued: bool,
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
            is_queued: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<Lock, LockError> {
        let inner = Arc::clone(self.peer.inner());
        // Refuses invalid names before anything is sent.
        if let Err(error) = inner.client.first_url().join_name("", &self.semaphore) {
            return Err(self.error_context().failed(error));
        }
        let acquiring = match self.before_end(self.wait_until_alone(&inner)).await {
            Some(acquiring) => acquiring?,
            // The only missing answer is that to a release.
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
                Err(AttemptError::Error(error)) if error.is_transient() => Some(error),
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

    /// Waits until no other task requests a lock of this peer, and until all releases are done: a lock that
    /// is being released may be of a level at which the server would refuse this request.
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
                // Another task holds it because it waits for a lock, so this lock is not available now;
                // unless that task has given up and withdraws its request.
                _ = releasing.wait_for(BTreeSet::is_empty) => {
                    acquiring.try_lock_owned().map_err(|_| self.not_in_time())?
                }
            }
        } else {
            acquiring.lock_owned().await
        };
        loop {
            // Read this first: while `acquiring` is held here, locks can only be released. So if the
            // semaphore was not held, the releases in progress now are all there are.
            let was_held = inner.holds(&self.semaphore);
            let mut releasing = inner.releasing.subscribe();
            // Never an error: `inner` owns the sender.
            let _ = releasing.wait_for(BTreeSet::is_empty).await;
            if !was_held {
                return Ok(acquiring);
            }
            if inner.holds(&self.semaphore) {
                return Err(self.error_context().already_held());
            }
        }
    }

    /// The output of `work`, or `None` if the time is over first.
    async fn before_end<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(end) = self.end else { return Some(work.await) };
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.peer.inner().clock.sleep_until(end) => None,
        }
    }

    /// Returns the error for the caller, after withdrawing what the server may still have of the request.
    async fn fail(self, mut guard: WithdrawGuard, failure: AttemptError) -> LockError {
        match failure {
            AttemptError::NotInTime => self.out_of_time(guard).await,
            AttemptError::Lost(lost) => {
                guard.peer = None;
                self.error_context().lost(lost)
            }
            AttemptError::Error(error) => {
                // After a refusal nothing is pending; after any other error something may be.
                if error.is_refusal() {
                    guard.peer = None;
                }
                self.withdraw(guard).await;
                self.error_context().failed(error)
            }
        }
    }

    /// The error when the time is over: whether the lock was not free, or the server did not answer.
    async fn out_of_time(mut self, guard: WithdrawGuard) -> LockError {
        let now = guard.inner.now();
        let missing =
            mem::take(&mut self.last_attempt).missing_answer(now, || guard.inner.no_answer_error());
        match missing {
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

    /// Withdraws the request, and waits for that at most [`WITHDRAW_TIMEOUT`].
    async fn withdraw(&self, mut guard: WithdrawGuard) {
        let inner = Arc::clone(&guard.inner);
        let left = async {
            if self.peer.is_last_handle() {
                // The pending lock is removed with the peer.
                guard.peer = None;
                inner.close(CloseMode::Remove).await;
            } else if let Some(withdrawal) = guard.withdraw() {
                // An error only if the runtime ends.
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
                "cannot ask for a lock, and keeps trying"
            );
        }
    }
}

/// How long `try_lock` waits for the answer.
const TRY_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for a withdrawal, which then continues in the background.
const WITHDRAW_TIMEOUT: Duration = Duration::from_millis(250);
