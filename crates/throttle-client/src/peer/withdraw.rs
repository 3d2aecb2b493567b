//! A place in the queue of the server, which nobody leaves behind.

use std::sync::Arc;

use throttle_wire::PeerId;
use tokio::sync::OwnedMutexGuard;

use super::{AcquireTask, PeerInner, release::ReleaseTask};
use crate::sequence::OnStale;

/// A place in the queue of the server, or what may be one.
pub(super) struct WithdrawGuard {
    pub(super) inner: Arc<PeerInner>,
    pub(super) semaphore: String,
    /// `None` if there is certainly no guard.
    pub(super) peer: Option<PeerId>,
    /// In which order it is asked for among all requests of the peer.
    pub(super) on_stale: OnStale,
    /// A request that is being answered.
    pub(super) acquire_task: Option<AcquireTask>,
    pub(super) acquiring: Option<OwnedMutexGuard<()>>,
}

impl WithdrawGuard {
    /// Withdraws it in the background.
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
