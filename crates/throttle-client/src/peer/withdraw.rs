//! A place in the queue of the server, which nobody leaves behind.

use std::sync::Arc;

use throttle_wire::PeerId;
use tokio::sync::OwnedMutexGuard;

use super::{Asking, Shared, release::Release};
use crate::sequence::Order;

/// A place in the queue of the server, or what may be one.
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    pub(super) semaphore: String,
    /// `None` if there is certainly no place.
    pub(super) peer: Option<PeerId>,
    /// In which order it is asked for among all requests of the peer.
    pub(super) order: Order,
    /// A request that is being answered.
    pub(super) asking: Option<Asking>,
    pub(super) acquiring: Option<OwnedMutexGuard<()>>,
}

impl Place {
    /// Withdraws it in the background.
    pub(super) fn give_up(&mut self) -> Option<Release> {
        let peer = self.peer.take()?;
        let (asking, acquiring) = (self.asking.take(), self.acquiring.take());
        Some(self.shared.give_back(peer, self.semaphore.clone(), asking, acquiring))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}
