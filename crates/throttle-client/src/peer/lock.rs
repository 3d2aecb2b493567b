//! A lock that is held, and what can be done with it.

use std::{fmt, sync::Arc, time::Duration};

use throttle_wire::{Code, PeerId};
use tokio::sync::watch;

use super::{CloseMode, LockError, Peer, lock_error::ErrorContext, task_result};
use crate::{Admission, Error, Lost};

/// A lock that is held, and kept alive until it is dropped.
///
/// Dropped, it is released in the background; [`release`](Self::release) returns when that is done, and tells
/// whether it was held until then.
///
/// It can be lost: the server may be out of reach, the machine may sleep, an operator may take it
/// away. Then the server grants it to somebody else, and this program must not go on as if it had it.
/// So work goes into [`run`](Self::run), which ends it in that case, or listens to
/// [`lost`](Self::lost). Work that cannot be ended at any time passes the
/// [fencing token](Self::fencing_token) to what it works on.
#[must_use = "it is released when it is dropped"]
pub struct Lock {
    pub(super) peer: Peer,
    pub(super) id: PeerId,
    pub(super) semaphore: String,
    pub(super) count: u64,
    pub(super) token: Option<u64>,
    pub(super) loss: watch::Receiver<Option<Lost>>,
    /// Whether somebody sees to the release already.
    pub(super) is_released: bool,
}

impl Lock {
    /// The semaphore.
    pub fn semaphore(&self) -> &str {
        &self.semaphore
    }

    /// How much of it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The peer that has the lock.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The id of the peer, as the server knows it.
    pub fn peer_id(&self) -> PeerId {
        self.id
    }

    /// A number that grows with each grant of the semaphore. `None` from a server of version 0.5.
    ///
    /// What is protected can reject whoever comes with a token smaller than one it has seen. It stays
    /// the same as long as the lock is held, also if the server forgets the lock and is told of it:
    /// should it have granted the semaphore to somebody else in between, theirs is greater.
    pub fn fencing_token(&self) -> Option<u64> {
        self.token
    }

    /// For how long the lock is certain even if no further heartbeat gets through. Zero if it is
    /// lost.
    pub fn time_left(&self) -> Duration {
        let inner = self.peer.inner();
        if self.loss.borrow().is_some() {
            return Duration::ZERO;
        }
        let deadline = inner.state().lease.deadline(self.id);
        deadline.map_or(Duration::ZERO, |deadline| deadline.since(inner.now()))
    }

    /// Whether it is certain at this moment that nobody else has been granted this lock.
    pub fn is_held(&self) -> bool {
        !self.time_left().is_zero()
    }

    /// Nothing, as long as [it is held](Self::is_held).
    ///
    /// # Errors
    ///
    /// Why it is lost.
    pub fn check(&self) -> Result<(), Lost> {
        if self.is_held() {
            return Ok(());
        }
        // The one who looks first says it to all.
        let inner = self.peer.inner();
        inner.next_step();
        Err(self.reason())
    }

    fn error_context(&self) -> ErrorContext {
        self.peer.inner().error_context(&self.semaphore)
    }

    /// Why it is lost, if it is lost.
    fn reason(&self) -> Lost {
        self.loss.borrow().unwrap_or(Lost::Expired)
    }

    /// Returns when the lock is lost, and why; never while it is held.
    ///
    /// It does so before the server can grant the lock to somebody else, as far as clocks go at the
    /// same rate within 1.5 %. The exceptions are a peer that was removed at the server and one that is
    /// refused, of which it learns with the next heartbeat; and a machine that sleeps: it learns of
    /// it within a second of waking up.
    ///
    /// To wait for it does not keep the lock.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let (mut loss, id) = (self.loss.clone(), self.id);
        let inner = Arc::clone(self.peer.inner());
        async move {
            loop {
                let deadline = inner.state().lease.deadline(id);
                let deadline = deadline.unwrap_or_else(|| inner.now() + Duration::from_secs(1));
                tokio::select! {
                    biased;
                    lost = loss.wait_for(Option::is_some) => {
                        // Without an answer there is a new life of the peer, which begins after a loss.
                        return lost.ok().and_then(|lost| *lost).unwrap_or(Lost::Expired);
                    }
                    // Also if the background task is not as punctual.
                    () = inner.clock.sleep_until(deadline) => {
                        inner.next_step();
                    }
                }
            }
        }
    }

    /// Lets `work` go on as long as the lock is held. If the lock is lost, `work` is dropped.
    ///
    /// # Errors
    ///
    /// Why the lock was lost.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Lost> {
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            output = work => Ok(output),
        }
    }

    /// Gives back a part, and keeps `count`, which must be at least one and no more than before.
    ///
    /// # Errors
    ///
    /// If it fails, the lock is smaller here all the same, and it can be repeated: the server may not have heard
    /// of it, or has refused because the peer waits for another lock (`already_pending`).
    ///
    /// - [`LockError::Failed`], also with `invalid_lock_count`, and `lock_hierarchy_violation` for a
    ///   larger count
    /// - [`LockError::Lost`]
    pub async fn shrink(&mut self, count: u64) -> Result<(), LockError> {
        let inner = Arc::clone(self.peer.inner());
        loop {
            let server_sync = inner.server_sync.lock().await;
            if let Some(lost) = *self.loss.borrow() {
                return Err(self.error_context().lost(lost));
            }
            if (1..self.count).contains(&count) {
                // Before it is sent, for the answer may get lost: nobody believes to have more than there is.
                let now = inner.now();
                if !inner.state().lease.shrunk(self.id, &self.semaphore, count, now) {
                    inner.next_step();
                    return Err(self.error_context().lost(self.reason()));
                }
                self.count = count;
            }
            let sent = inner.sent();
            let answer = inner.single_attempt.acquire(self.id, &self.semaphore, count).await;
            drop(server_sync);
            match answer {
                Ok(Admission::Granted { .. }) => return Ok(()),
                // So the server has forgotten that it was held. Nobody stays in the queue for it.
                Ok(Admission::Queued) => {
                    self.is_released = true;
                    drop(inner.release_in_background(self.id, self.semaphore.clone(), None, None));
                    return Err(self.error_context().lost(Lost::Expired));
                }
                Err(Error::Refused { code: Code::UnknownPeer, uptime, .. }) => {
                    if let Some(lost) = inner.unknown_peer(self.id, sent, uptime) {
                        return Err(self.error_context().lost(lost));
                    }
                    // A server that forgot is told of the smaller lock first.
                    inner.until_restored(self.id).await;
                }
                Err(error) => return Err(self.error_context().failed(error)),
            }
        }
    }

    /// Gives the lock back, and returns when the server has heard of it.
    ///
    /// If nobody else has the [peer](Self::peer), nor a lock of it, it is removed from the server before this
    /// returns, unless the server does not answer to that within two seconds. What is begun goes on in the
    /// background if this is dropped.
    ///
    /// # Errors
    ///
    /// Why it was lost, if it was, be it while this waited for a server that did not answer. Then work
    /// that was done last may have been done without the lock. [`Lost::Revoked`] is found out by this very
    /// request if somebody removed the peer. A server that was started again and has forgotten the peer is no
    /// reason for an error, and neither is one of version 0.5, which does not say for how long it runs.
    pub async fn release(mut self) -> Result<(), Lost> {
        let lost = *self.loss.borrow();
        self.is_released = true;
        if let Some(lost) = lost {
            return Err(lost);
        }
        let inner = self.peer.inner();
        let task = inner.release_in_background(self.id, self.semaphore.clone(), None, None);
        task_result(task.await)??;
        if self.peer.is_last_handle() {
            inner.close(CloseMode::Remove).await;
        }
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // With the peer goes the lock.
        if !self.is_released && !self.peer.is_last_handle() && self.loss.borrow().is_none() {
            drop(self.peer.inner().release_in_background(
                self.id,
                self.semaphore.clone(),
                None,
                None,
            ));
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("semaphore", &self.semaphore)
            .field("count", &self.count)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
