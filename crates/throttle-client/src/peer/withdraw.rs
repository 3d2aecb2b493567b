//! Withdraws a request for a lock that its caller gave up, so that nothing stays behind at the server.
//! What the server is sent for that is in [`super::release`].

use std::sync::Arc;

use throttle_wire::PeerId;
use tokio::sync::OwnedMutexGuard;

use super::{AcquireTask, PeerInner, release::ReleaseTask};
use crate::sequence::OnStale;

/// A request for a lock that the server may have queued or granted. It is withdrawn when this is dropped.
pub(super) struct WithdrawGuard {
    pub(super) inner: Arc<PeerInner>,
    pub(super) semaphore: String,
    /// `None` if the server certainly has nothing of the request.
    pub(super) peer: Option<PeerId>,
    /// What to do if the server reports the request as stale.
    pub(super) on_stale: OnStale,
    /// The request in flight.
    pub(super) acquire_task: Option<AcquireTask>,
    pub(super) acquiring: Option<OwnedMutexGuard<()>>,
}

impl WithdrawGuard {
    /// Withdraws the request in the background, unless there is nothing to withdraw.
    pub(super) fn withdraw(&mut self) -> Option<ReleaseTask> {
        let peer = self.peer.take()?;
        let (acquire_task, acquiring) = (self.acquire_task.take(), self.acquiring.take());
        Some(self.inner.release_in_background(
            peer,
            self.semaphore.clone(),
            acquire_task,
            acquiring,
        ))
    }
}

impl Drop for WithdrawGuard {
    fn drop(&mut self) {
        drop(self.withdraw());
    }
}
