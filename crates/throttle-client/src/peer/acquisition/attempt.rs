//! One request for a lock, and what its answer means.

use std::{sync::Arc, time::Duration};

use throttle_wire::{Code, PeerId};
use tokio::sync::watch;
use tracing::{debug, info};

use super::Acquisition;
use crate::{
    Admission, Error, Lost,
    clock::Time,
    peer::{
        Lock, PeerInner, TARGET, lock_error::PeerError, renewal::Sent, task_result,
        withdraw::WithdrawGuard,
    },
    sequence::OnStale,
};

/// What to do after an answer.
pub(super) enum AttemptOutcome {
    RetryNow,
    /// The answer came too early, for example from a server that shuts down.
    RetryAfterPause,
    Granted(Lock),
}

/// Why an attempt did not lead to a lock.
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
    /// Creates the peer if there is none, and sends one request for the lock.
    pub(super) async fn attempt(
        &mut self,
        guard: &mut WithdrawGuard,
        outer: &watch::Receiver<Option<Lost>>,
        is_nested: bool,
    ) -> Result<AttemptOutcome, AttemptError> {
        let inner = Arc::clone(&guard.inner);
        self.last_attempt.due = Some(inner.now());
        let previous = inner.state().lease.peer();
        let Some(known) = self.before_end(inner.registered_peer()).await else {
            return Err(AttemptError::NotInTime);
        };
        let peer = known.map_err(|error| match error {
            PeerError::Error(error) => AttemptError::Error(error),
            PeerError::Lost(lost) => AttemptError::Lost(lost),
        })?;
        if previous != Some(peer) {
            self.answered();
        }
        let lost = *outer.borrow();
        if let Some(lost) = lost.filter(|_| is_nested) {
            // The outer locks are lost, so the caller's precondition for this one is gone.
            return Err(lost.into());
        }
        guard.peer = Some(peer);
        self.send_request(peer, guard).await
    }

    /// Sends one request for the lock.
    async fn send_request(
        &mut self,
        peer: PeerId,
        guard: &mut WithdrawGuard,
    ) -> Result<AttemptOutcome, AttemptError> {
        let inner = Arc::clone(&guard.inner);
        let sent = inner.sending_now();
        let (block_for, due) = self.block_for(&inner, sent.at);
        self.last_attempt.due = Some(due);
        let length = inner.state().lease.length();
        let (client, semaphore, count) =
            (inner.single_attempt.clone(), self.semaphore.clone(), self.count);
        let on_stale = guard.on_stale;
        // A task of its own: the answer is needed even if the caller stops waiting, because it tells whether
        // a withdrawal is complete.
        let acquire_task = guard.acquire_task.insert(inner.runtime.spawn(async move {
            let request = client.acquire(peer, &semaphore, count).expires_in(length);
            // Without `Renumber`: the caller may have stopped waiting when the server reports that this
            // request came too late.
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
                () = inner.until_confirmed_at_another_url(sent.url_index) => None,
            }
        };
        let Some(answer) = self.before_end(answered).await else {
            return Err(AttemptError::NotInTime);
        };
        let acquire_task = guard.acquire_task.take();
        let Some(answer) = answer else {
            // If it still reaches the server, it is stale after the next request.
            if let Some(acquire_task) = acquire_task {
                acquire_task.abort();
            }
            return Ok(AttemptOutcome::RetryNow);
        };
        match task_result(answer)? {
            Ok(admission) => {
                self.answered();
                self.handle_admission(peer, &inner, admission, (sent, block_for))
            }
            Err(Error::Refused { code: Code::UnknownPeer, remembers_for, .. }) => {
                self.answered();
                match inner.unknown_peer(peer, sent, remembers_for) {
                    // The peer held nothing, so it lost only its place in the queue.
                    Some(Lost::Expired) | None => Ok(AttemptOutcome::RetryAfterPause),
                    Some(lost) => Err(AttemptError::Lost(lost)),
                }
            }
            Err(error) if error.is_stale() => {
                self.answered();
                // Another request of the peer was faster, such as a release.
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

    /// Handles an answer that grants or queues the lock.
    fn handle_admission(
        &mut self,
        peer: PeerId,
        inner: &Arc<PeerInner>,
        admission: Admission,
        (sent, block_for): (Sent, Duration),
    ) -> Result<AttemptOutcome, AttemptError> {
        let now = inner.now();
        inner.renewed(peer, sent);
        match admission {
            Admission::Granted { token } => {
                // The grant does not count if the lease may have ended before the answer arrived, or if the
                // server sent it before it forgot the peer.
                let mut state = inner.state();
                if !state.lease.granted(peer, &self.semaphore, self.count, (sent.at, now)) {
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
                self.log_queued(peer);
                // For example at a server that shuts down.
                let is_early = now.since(sent.at) < block_for - block_for / 8;
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

    /// The `block_for` of the next request, and when its answer is due.
    ///
    /// The last request but one ends [`LAST_ANSWER_MARGIN`] early. This distinguishes a server that does not
    /// answer from a lock that is not free. The answer to the last request is not expected in time.
    fn block_for(&self, inner: &PeerInner, now: Time) -> (Duration, Time) {
        if self.is_try_lock() {
            return (Duration::ZERO, now);
        }
        let longest = {
            let state = inner.state();
            let third = state.lease.length() / 3;
            // Without heartbeats only this request renews the lease.
            let is_only = !state.lease.sends_heartbeats();
            if is_only { state.longest_block_for.min(third) } else { state.longest_block_for }
        };
        let Some(end) = self.end else { return (longest, now + longest) };
        let left = end.since(now);
        // The last answer, a moment ago, already said that the lock is not free.
        if left <= LAST_ANSWER_MARGIN && self.last_attempt.is_answered && self.is_queued {
            return (left.min(longest), end + LAST_ANSWER_MARGIN);
        }
        let block_for = longest.min(left.saturating_sub(LAST_ANSWER_MARGIN));
        (block_for, now + block_for)
    }

    fn log_queued(&mut self, peer: PeerId) {
        if !self.is_queued {
            self.is_queued = true;
            let (semaphore, url) = (&*self.semaphore, &*self.peer.inner().server);
            info!(target: TARGET, peer, semaphore, url, "waiting for a lock");
        }
    }

    fn lock(&self, id: PeerId, token: Option<u64>, loss: watch::Receiver<Option<Lost>>) -> Lock {
        let (semaphore, waited) = (&*self.semaphore, self.peer.inner().now().since(self.start));
        if self.is_queued {
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

/// A server that does not allow even this `block_for` is not asked for a shorter one.
const SHORTEST_BLOCK_FOR: Duration = Duration::from_millis(100);

/// How long before the end of the time the last answer but one is due. A shorter wait starts with a request
/// that is answered at once.
const LAST_ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// The pause before a stale request is sent again. Stale requests are rare; the pause protects a server that
/// reports all requests as stale.
const STALE_PAUSE: Duration = Duration::from_millis(5);
