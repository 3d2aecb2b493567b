//! What was touched since the last batch was read.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use throttle_core::{Event, PeerId, SemaphoreId};

use super::Held;
use crate::names::Names;

/// The peers of a batch. It is looked up, and read in no particular order.
pub(crate) type TouchedPeers = HashMap<PeerId, Touch>;

/// What happened to a peer in a batch, as far as the locks are concerned that it holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Touch {
    /// It released or shrank a lock, or lost it.
    pub(crate) gave_up: bool,
    /// It was granted a lock.
    pub(crate) gained: bool,
}

/// A batch that is not read yet.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    pub(crate) peers: TouchedPeers,
    /// Semaphores that were added, changed or granted.
    pub(crate) semaphores: BTreeSet<SemaphoreId>,
    /// Semaphores that were removed.
    pub(crate) removed: BTreeSet<Arc<str>>,
    /// Whether the meta record has to be written.
    pub(crate) meta: bool,
    pub(crate) held: Held,
}

impl Gathering {
    /// Whether nothing was touched. Nothing is held back then.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many records it has.
    pub(crate) fn len(&self) -> usize {
        let Self { peers, semaphores, removed, meta, .. } = self;
        peers.len() + semaphores.len() + removed.len() + usize::from(*meta)
    }

    pub(crate) fn touch_peer(&mut self, peer: PeerId) -> &mut Touch {
        self.peers.entry(peer).or_default()
    }

    /// Notes what an event touched. Whether a waiter is parked is not part of its record.
    pub(crate) fn record(&mut self, event: &Event, names: &Names) {
        match *event {
            Event::Granted { peer, semaphore, .. } => {
                self.touch_peer(peer).gained = true;
                self.semaphores.insert(semaphore);
            }
            Event::Released { peer, .. } | Event::Shrunk { peer, .. } => {
                self.touch_peer(peer).gave_up = true;
            }
            Event::Cancelled { peer, .. }
            | Event::Expired { peer, .. }
            | Event::LeaseChanged { peer }
            | Event::PeerCreated { peer }
            | Event::Queued { peer, .. }
            | Event::Removed { peer, .. }
            | Event::Restored { peer } => {
                self.touch_peer(peer);
            }
            Event::LevelChanged { semaphore, .. } | Event::Resized { semaphore, .. } => {
                self.semaphores.insert(semaphore);
            }
            Event::SemaphoreRemoved { semaphore } => {
                self.removed.insert(Arc::clone(names.name(semaphore)));
            }
            Event::Parked { .. } | Event::Resumed { .. } => {}
        }
    }
}
