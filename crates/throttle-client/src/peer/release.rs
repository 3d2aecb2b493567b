//! Locks are given back and places in queues given up, until it is certain that the server has nothing of
//! it any more.

use std::sync::Arc;

use throttle_wire::{Code, PeerId};
use tokio::{sync::OwnedMutexGuard, task::JoinHandle};
use tracing::{debug, warn};

use super::{AcquireTask, PeerInner, RELEASE_RETRY_PAUSE, TARGET, backoff::Backoff};
use crate::{Error, Lost, jitter::jitter};

/// What comes of giving something back: why it was lost before, if it was.
pub(super) type ReleaseTask = JoinHandle<Result<(), Lost>>;

impl PeerInner {
    /// Gives a lock back, or withdraws from a queue, in the background and until it is certain that
    /// the server has nothing of it any more.
    ///
    /// `asking` is a request for it that is being answered. Nothing else is asked for meanwhile if
    /// `acquiring` is here.
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
            // A server that is just told what the peer holds must not hear of this before.
            let server_sync = inner.server_sync.lock().await;
            inner.state().lease.released(peer, semaphore);
            drop(server_sync);
            let released = inner.release_at_server(peer, semaphore).await;
            if let Some(acquire_task) = acquire_task {
                inner.release_until_answered(peer, semaphore, acquire_task).await;
            }
            // In this order: as long as somebody withdraws, it can be seen that something is given back.
            drop((acquiring, releasing));
            released
        })
    }

    /// Goes on to withdraw until a request that was sent has been answered. It may arrive behind the
    /// withdrawal, and be granted what nobody wants any more.
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

    /// Repeats that a lock is released until the server has heard it, or forgets all of it anyway.
    ///
    /// A server that does not know the peer although it ran when it last confirmed it proves that the lock was
    /// lost before. One that forgot the peer, or does not say for how long it runs, has nothing to release.
    async fn release_at_server(&self, peer: PeerId, semaphore: &str) -> Result<(), Lost> {
        loop {
            // If it is over by now, that has to be said before anything is asked.
            self.next_step();
            let deadline = {
                let state = self.state();
                let lost = *state.loss.borrow();
                state.lease.deadline(peer).ok_or_else(|| lost.unwrap_or(Lost::Expired))?
            };
            let sent = self.sent();
            let answer = tokio::select! {
                biased;
                answer = self.client.release(peer, semaphore) => answer,
                // It may have moved meanwhile.
                () = self.clock.sleep_until(deadline) => continue,
            };
            match answer {
                Ok(()) => {
                    debug!(target: TARGET, peer, semaphore, "released");
                    return Ok(());
                }
                Err(Error::Refused { code: Code::UnknownPeer, uptime, .. }) => {
                    if let Some(lost) = self.unknown_peer(peer, sent, uptime) {
                        return Err(lost);
                    }
                    if self.state().lease.peer().is_some_and(|(_, is_forgotten)| is_forgotten) {
                        debug!(target: TARGET, peer, semaphore, "the server forgot the lock");
                        return Ok(());
                    }
                    // That was old news, or left open what happened.
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

/// A semaphore that is being given back to the server, until this is dropped, be it because the runtime
/// ends.
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
