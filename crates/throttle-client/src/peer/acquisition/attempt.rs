//! One request for a lock, and what its answer means.

use std::{sync::Arc, time::Duration};

use throttle_wire::{Code, PeerId};
use tokio::sync::watch;
use tracing::{debug, info};

use super::Acquisition;
use crate::{
    Admission, Error, Lost,
    clock::Time,
    peer::{Lock, PeerInner, TARGET, lock_error::PeerError, task_result, withdraw::WithdrawGuard},
    sequence::OnStale,
};

/// What one answer means.
pub(super) enum AttemptOutcome {
    RetryNow,
    /// After a pause, for the server answered sooner than it was to.
    RetryAfterPause,
    Granted(Lock),
}

/// Why no lock came of an attempt.
pub(super) enum AttemptError {
    Error(Error),
    Lost(Lost),
    NotInTime,
}

impl From<Lost> for AttemptError {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl Acquisition {
    /// Asks the server once, for a peer if there is none and then for the lock.
    pub(super) async fn attempt(
        &mut self,
        guard: &mut WithdrawGuard,
        outer: &watch::Receiver<Option<Lost>>,
        is_nested: bool,
    ) -> Result<AttemptOutcome, AttemptError> {
        let inner = Arc::clone(&guard.inner);
        self.last_attempt.due = Some(inner.now());
        let former = inner.state().lease.peer();
        let Some(known) = self.before_end(inner.registered_peer()).await else {
            return Err(AttemptError::NotInTime);
        };
        let peer = known.map_err(|obstacle| match obstacle {
            PeerError::Error(error) => AttemptError::Error(error),
            PeerError::Lost(lost) => AttemptError::Lost(lost),
        })?;
        if former.is_none_or(|(former, _)| former != peer) {
            self.answered();
        }
        let lost = *outer.borrow();
        if let Some(lost) = lost.filter(|_| is_nested) {
            // A lock within others that are gone is not what was asked for.
            return Err(lost.into());
        }
        guard.peer = Some(peer);
        self.ask(peer, guard).await
    }

    /// Asks the server for the lock.
    async fn ask(
        &mut self,
        peer: PeerId,
        guard: &mut WithdrawGuard,
    ) -> Result<AttemptOutcome, AttemptError> {
        let inner = Arc::clone(&guard.inner);
        let sent = inner.sent();
        let (block_for, due) = self.block_for(&inner, sent.0);
        self.last_attempt.due = Some(due);
        let length = inner.state().lease.length();
        let (client, semaphore, count) =
            (inner.single_attempt.clone(), self.semaphore.clone(), self.count);
        let on_stale = guard.on_stale;
        // A task of its own: what was sent has to be heard to its end, whoever waits for it.
        let acquire_task = guard.acquire_task.insert(inner.runtime.spawn(async move {
            let request = client.acquire(peer, &semaphore, count).expires_in(length);
            // Who asks may not want it any more when it turns out that this came late.
            let mut request = request.on_stale(on_stale);
            if !block_for.is_zero() {
                request = request.block_for(block_for);
            }
            request.await
        }));
        let answered = async {
            tokio::select! {
                biased;
                answer = acquire_task => Some(answer),
                () = inner.until_confirmed_at_another_url(sent.1) => None,
            }
        };
        let Some(answer) = self.before_end(answered).await else {
            return Err(AttemptError::NotInTime);
        };
        let acquire_task = guard.acquire_task.take();
        let Some(answer) = answer else {
            // If it gets through all the same, it comes after a greater number.
            if let Some(acquire_task) = acquire_task {
                acquire_task.abort();
            }
            return Ok(AttemptOutcome::RetryNow);
        };
        match task_result(answer)? {
            Ok(admission) => {
                self.answered();
                self.admitted(peer, &inner, admission, (sent, block_for))
            }
            Err(Error::Refused { code: Code::UnknownPeer, uptime, .. }) => {
                self.answered();
                match inner.unknown_peer(peer, sent, uptime) {
                    // Whoever held nothing has lost nothing but the place in the queue.
                    Some(Lost::Expired) | None => Ok(AttemptOutcome::RetryAfterPause),
                    Some(lost) => Err(AttemptError::Lost(lost)),
                }
            }
            Err(error) if error.is_stale() => {
                self.answered();
                // Another request was faster, such as a release of something else.
                if !error.try_advance_past_latest() {
                    guard.on_stale = OnStale::Unnumbered;
                }
                inner.clock.sleep_until(inner.now() + STALE_PAUSE).await;
                Ok(AttemptOutcome::RetryNow)
            }
            Err(error)
                if error.code() == Some(Code::BlockForTooLong)
                    && SHORTEST_BLOCK_FOR < block_for =>
            {
                self.answered();
                inner.state().longest_block_for = block_for / 2;
                Ok(AttemptOutcome::RetryNow)
            }
            Err(error) => Err(AttemptError::Error(error)),
        }
    }

    /// The server has told where the peer stands.
    fn admitted(
        &mut self,
        peer: PeerId,
        inner: &Arc<PeerInner>,
        admission: Admission,
        (sent, block_for): ((Time, usize), Duration),
    ) -> Result<AttemptOutcome, AttemptError> {
        let now = inner.now();
        inner.renewed(peer, sent);
        match admission {
            Admission::Granted { token } => {
                // Not if the answer took so long that it may be over again, or if it comes from before the
                // server forgot the peer.
                let mut state = inner.state();
                if !state.lease.granted(peer, &self.semaphore, self.count, (sent.0, now)) {
                    return Ok(AttemptOutcome::RetryAfterPause);
                }
                let loss = state.loss.subscribe();
                drop(state);
                Ok(AttemptOutcome::Granted(self.lock(peer, token, loss)))
            }
            Admission::Queued if self.is_try_lock() || self.end.is_some_and(|end| end <= now) => {
                Err(AttemptError::NotInTime)
            }
            Admission::Queued => {
                self.log_waiting(peer);
                // A server that shuts down answers at once.
                let is_early = now.since(sent.0) < block_for - block_for / 8;
                if !is_early {
                    self.backoff.reset();
                }
                Ok(if is_early {
                    AttemptOutcome::RetryAfterPause
                } else {
                    AttemptOutcome::RetryNow
                })
            }
        }
    }

    /// For how long the next request may wait, and when its answer is expected.
    ///
    /// The last but one ends some time before the end, so that a server that does not answer is told from one
    /// where the lock is not free. From the last one no answer is expected in time.
    fn block_for(&self, inner: &PeerInner, now: Time) -> (Duration, Time) {
        if self.is_try_lock() {
            return (Duration::ZERO, now);
        }
        let longest = {
            let state = inner.state();
            let third = state.lease.length() / 3;
            // Without other signs of life this is the only one.
            let is_only = !state.lease.sends_heartbeats();
            if is_only { state.longest_block_for.min(third) } else { state.longest_block_for }
        };
        let Some(end) = self.end else { return (longest, now + longest) };
        let left = end.since(now);
        // What is answered then is that the lock is not free, as it was a moment ago.
        if left <= LAST_ANSWER_MARGIN && self.last_attempt.is_answered && self.is_waiting {
            return (left.min(longest), end + LAST_ANSWER_MARGIN);
        }
        let block_for = longest.min(left.saturating_sub(LAST_ANSWER_MARGIN));
        (block_for, now + block_for)
    }

    fn log_waiting(&mut self, peer: PeerId) {
        if !self.is_waiting {
            self.is_waiting = true;
            let (semaphore, url) = (&*self.semaphore, &*self.peer.inner().server);
            info!(target: TARGET, peer, semaphore, url, "waiting for a lock");
        }
    }

    fn lock(&self, id: PeerId, token: Option<u64>, loss: watch::Receiver<Option<Lost>>) -> Lock {
        let (semaphore, waited) = (&*self.semaphore, self.peer.inner().now().since(self.start));
        if self.is_waiting {
            info!(target: TARGET, peer = id, semaphore, token, ?waited, "held after waiting");
        } else {
            debug!(target: TARGET, peer = id, semaphore, token, "held");
        }
        Lock {
            peer: self.peer.clone(),
            id,
            semaphore: self.semaphore.clone(),
            count: self.count,
            token,
            loss,
            is_released: false,
        }
    }
}

/// A server that does not let requests wait for so long is not asked again and again.
const SHORTEST_BLOCK_FOR: Duration = Duration::from_millis(100);

/// How long before the end of the time the last but one answer is expected. Who waits less is told at once where
/// they stand, and then waits.
const LAST_ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// Before a request is sent again that was overtaken. That is rare; a server that always says so is not to
/// be asked without pause.
const STALE_PAUSE: Duration = Duration::from_millis(5);
