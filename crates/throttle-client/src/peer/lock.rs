//! A lock that is held.

use std::{fmt, sync::Arc, time::Duration};

use throttle_wire::{Code, PeerId};
use tokio::sync::watch;

use super::{CloseMode, LockError, Peer, lock_error::ErrorContext, task_result};
use crate::{Admission, Error, Lost};

/// A lock that is held, and kept alive until it is dropped.
///
/// Dropping it releases it in the background. [`release`](Self::release) waits for that, and reports whether
/// the lock was held until then.
///
/// A lock can be lost: the server may be unreachable, the machine may be suspended, or an operator may remove
/// the peer. The server then grants the lock to others, so this program must stop its work. Either pass the
/// work to [`run`](Self::run), which then drops it, or wait for [`lost`](Self::lost). Work that cannot be
/// stopped at any time must send the [fencing token](Self::fencing_token) to the resource it uses.
#[must_use = "it is released when it is dropped"]
pub struct Lock {
    pub(super) peer: Peer,
    pub(super) id: PeerId,
    pub(super) semaphore: String,
    pub(super) count: u64,
    pub(super) token: Option<u64>,
    pub(super) loss: watch::Receiver<Option<Lost>>,
    /// Whether the drop has nothing to release.
    pub(super) is_released: bool,
}

impl Lock {
    /// The name of the semaphore.
    pub fn semaphore(&self) -> &str {
        &self.semaphore
    }

    /// The count that is held.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The peer that holds the lock.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The id of the peer at the server.
    pub fn peer_id(&self) -> PeerId {
        self.id
    }

    /// A number that grows with each grant of the semaphore. `None` from a server of version 0.5.
    ///
    /// A protected resource can reject requests with a token smaller than the largest it has seen. The token
    /// stays the same while the lock is held, also after a restore. If the server granted the semaphore to
    /// another peer before the restore, that peer's token is greater.
    pub fn fencing_token(&self) -> Option<u64> {
        self.token
    }

    /// How long the lock is certainly held, even if no further heartbeat arrives. Zero if it is lost.
    pub fn time_left(&self) -> Duration {
        let inner = self.peer.inner();
        if self.loss.borrow().is_some() {
            return Duration::ZERO;
        }
        let deadline = inner.state().lease.deadline(self.id);
        deadline.map_or(Duration::ZERO, |deadline| deadline.since(inner.now()))
    }

    /// Whether it is certain at this moment that the lock has not been granted to another peer.
    pub fn is_held(&self) -> bool {
        !self.time_left().is_zero()
    }

    /// Succeeds while the lock [is held](Self::is_held).
    ///
    /// # Errors
    ///
    /// Why the lock is lost.
    pub fn check(&self) -> Result<(), Lost> {
        if self.is_held() {
            return Ok(());
        }
        // Reports the loss to all locks of the peer, if nothing else did.
        let inner = self.peer.inner();
        inner.next_step();
        Err(self.reason())
    }

    fn error_context(&self) -> ErrorContext {
        self.peer.inner().error_context(&self.semaphore)
    }

    /// Why the lock is lost, if it is.
    fn reason(&self) -> Lost {
        self.loss.borrow().unwrap_or(Lost::Expired)
    }

    /// Returns when the lock is lost, and why; never while it is held.
    ///
    /// It returns before the server can grant the lock to another peer, if both clocks run at the same rate
    /// within 1.5 %. There are three exceptions. If the peer was removed or is refused by the server, this is
    /// known only with the next heartbeat. After the machine was suspended, it is known within a second of
    /// waking up.
    ///
    /// Waiting for the loss does not keep the lock alive.
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
                        // The sender is gone because the peer was created again, which happens only after a
                        // loss.
                        return lost.ok().and_then(|lost| *lost).unwrap_or(Lost::Expired);
                    }
                    // The heartbeat task may be late.
                    () = inner.clock.sleep_until(deadline) => {
                        inner.next_step();
                    }
                }
            }
        }
    }

    /// Runs `work` while the lock is held. If the lock is lost, `work` is dropped.
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

    /// Releases a part of the lock and keeps `count`, which must be at least one and no more than before.
    ///
    /// # Errors
    ///
    /// After an error the lock counts as smaller here, and the call can be repeated. Either the server did
    /// not receive the request, or it refused because the peer waits for another lock (`already_pending`).
    ///
    /// - [`LockError::Failed`], also with `invalid_lock_count`, and with `lock_hierarchy_violation` for a
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
                // Recorded before the request is sent, because its answer may get lost: the lock must never
                // seem larger than it is at the server.
                let now = inner.now();
                if !inner.state().lease.shrunk(self.id, &self.semaphore, count, now) {
                    inner.next_step();
                    return Err(self.error_context().lost(self.reason()));
                }
                self.count = count;
            }
            let sent = inner.sending_now();
            let answer = inner.single_attempt.acquire(self.id, &self.semaphore, count).await;
            drop(server_sync);
            match answer {
                Ok(Admission::Granted { .. }) => return Ok(()),
                // The server had forgotten the lock, and has queued the request as a new one. Withdraw it.
                Ok(Admission::Queued) => {
                    self.is_released = true;
                    drop(inner.release_in_background(self.id, self.semaphore.clone(), None, None));
                    return Err(self.error_context().lost(Lost::Expired));
                }
                Err(Error::Refused { code: Code::UnknownPeer, remembers_for, .. }) => {
                    if let Some(lost) = inner.unknown_peer(self.id, sent, remembers_for) {
                        return Err(self.error_context().lost(lost));
                    }
                    // The restore already reports the smaller count.
                    inner.until_restored(self.id).await;
                }
                Err(error) => return Err(self.error_context().failed(error)),
            }
        }
    }

    /// Releases the lock, and returns when the server has confirmed that.
    ///
    /// If there is no other handle of the [peer](Self::peer) and no other lock of it, the peer is removed as
    /// well before this returns; unless the server does not answer to that within two seconds. If this future
    /// is dropped, the release and the removal continue in the background.
    ///
    /// # Errors
    ///
    /// Why the lock was lost, if it was lost before the server confirmed the release. The last part of the
    /// work may then have been done without the lock. If the peer was removed at the server, this request is
    /// often the first to notice it ([`Lost::Revoked`]). A restarted server that forgot the peer is no error.
    /// Neither is an unknown peer at a server of version 0.5, which does not report for how long it remembers.
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
        // The last handle removes the peer instead, and with it the lock.
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
