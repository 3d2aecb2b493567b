//! Releases locks and withdraws requests, until it is certain that the server has nothing of them any more.

use std::sync::Arc;

use throttle_wire::{Code, PeerId};
use tokio::{sync::OwnedMutexGuard, task::JoinHandle};
use tracing::{debug, warn};

use super::{AcquireTask, PeerInner, RELEASE_RETRY_PAUSE, TARGET, backoff::Backoff};
use crate::{Error, Lost, jitter::jitter};

/// Releases a lock, or withdraws a request. The error says why the peer was lost before.
pub(super) type ReleaseTask = JoinHandle<Result<(), Lost>>;

impl PeerInner {
    /// Releases a lock, or withdraws a request, in the background.
    ///
    /// `acquire_task` is a request for the lock that is in flight. `acquiring` is held until the release is
    /// done.
    pub(super) fn release_in_background(
        self: &Arc<Self>,
        peer: PeerId,
        semaphore: String,
        acquire_task: Option<AcquireTask>,
        acquiring: Option<OwnedMutexGuard<()>>,
    ) -> ReleaseTask {
        let releasing = ReleasingGuard::begin(self, semaphore);
        self.runtime.spawn(async move {
            let ReleasingGuard { inner, semaphore } = &releasing;
            // A restore in progress must not report the lock as held after it was released.
            let server_sync = inner.server_sync.lock().await;
            inner.state().lease.released(peer, semaphore);
            drop(server_sync);
            let released = inner.release_at_server(peer, semaphore).await;
            if let Some(acquire_task) = acquire_task {
                inner.release_until_answered(peer, semaphore, acquire_task).await;
            }
            // In this order: while a withdrawal holds `acquiring`, `releasing` must show it.
            drop((acquiring, releasing));
            released
        })
    }

    /// Repeats the release until `acquire_task` has its answer: the request may arrive after a release, and
    /// be granted.
    async fn release_until_answered(
        &self,
        peer: PeerId,
        semaphore: &str,
        mut acquire_task: AcquireTask,
    ) {
        let mut backoff = Backoff::default();
        loop {
            let pause = backoff.next(jitter());
            let answered = tokio::select! {
                biased;
                _ = &mut acquire_task => true,
                () = self.clock.sleep_until(self.now() + pause) => false,
            };
            let released = self.release_at_server(peer, semaphore).await;
            if answered || released.is_err() {
                return;
            }
        }
    }

    /// Repeats the release until the server has confirmed it, or the peer is lost or forgotten.
    ///
    /// If the server does not know the peer although it remembers all peers since it last confirmed this one,
    /// the lock was lost before. A server that forgot the peer, or does not report for how long it remembers, has
    /// nothing to release.
    async fn release_at_server(&self, peer: PeerId, semaphore: &str) -> Result<(), Lost> {
        loop {
            // Reports a lease that has ended before anything is sent.
            self.next_step();
            let deadline = {
                let state = self.state();
                let lost = *state.loss.borrow();
                state.lease.deadline(peer).ok_or_else(|| lost.unwrap_or(Lost::Expired))?
            };
            let sent = self.sending_now();
            let answer = tokio::select! {
                biased;
                answer = self.client.release(peer, semaphore) => answer,
                // The deadline may have moved.
                () = self.clock.sleep_until(deadline) => continue,
            };
            match answer {
                Ok(()) => {
                    debug!(target: TARGET, peer, semaphore, "released");
                    return Ok(());
                }
                Err(Error::Refused { code: Code::UnknownPeer, remembers_for, .. }) => {
                    if let Some(lost) = self.unknown_peer(peer, sent, remembers_for) {
                        return Err(lost);
                    }
                    if self.state().lease.needs_restore() {
                        debug!(target: TARGET, peer, semaphore, "the server forgot the lock");
                        return Ok(());
                    }
                    // The answer was outdated or ambiguous, so release again.
                }
                Err(error) if error.is_refusal() => {
                    debug!(target: TARGET, peer, semaphore, %error, "nothing to release");
                    return Ok(());
                }
                Err(error) => {
                    let url = &*self.server;
                    warn!(target: TARGET, peer, semaphore, url, %error, "cannot release, trying again");
                    self.clock.sleep_until(self.now() + RELEASE_RETRY_PAUSE).await;
                }
            }
        }
    }
}

/// Lists a semaphore in [`PeerInner::releasing`] until it is dropped, also when the runtime ends.
struct ReleasingGuard {
    inner: Arc<PeerInner>,
    semaphore: String,
}

impl ReleasingGuard {
    fn begin(inner: &Arc<PeerInner>, semaphore: String) -> Self {
        inner.releasing.send_modify(|names| {
            names.insert(semaphore.clone());
        });
        Self { inner: Arc::clone(inner), semaphore }
    }
}

impl Drop for ReleasingGuard {
    fn drop(&mut self) {
        self.inner.releasing.send_modify(|names| {
            names.remove(&self.semaphore);
        });
    }
}
