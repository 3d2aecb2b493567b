//! A peer that is open in one process, and the check that a forked child does not use it.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use throttle_client::Peer;
use tokio::task::JoinHandle;

use crate::process::ProcessState;

/// A peer that is removed from the server when this is dropped, unless it was removed before.
pub(crate) struct OpenPeer {
    peer: Mutex<Option<Peer>>,
    process: Arc<ProcessState>,
}

impl OpenPeer {
    pub(crate) fn new(peer: Peer, process: Arc<ProcessState>) -> Self {
        Self { peer: Mutex::new(Some(peer)), process }
    }

    /// The peer, unless it is closed or belongs to the parent of this process.
    pub(crate) fn get(&self) -> Option<Peer> {
        if self.belongs_to_parent() {
            return None;
        }
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the peer out, so that it is closed for all other users.
    pub(crate) fn take(&self) -> Option<Peer> {
        if self.belongs_to_parent() {
            return None;
        }
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Begins to remove the peer from the server, unless it is closed.
    pub(crate) fn close(&self) -> Option<JoinHandle<()>> {
        Some(self.process.close_in_background(self.take()?))
    }

    /// Whether the peer belongs to the parent of this process.
    pub(crate) fn belongs_to_parent(&self) -> bool {
        self.process.belongs_to_parent()
    }

    pub(crate) fn process(&self) -> &Arc<ProcessState> {
        &self.process
    }
}

impl Drop for OpenPeer {
    fn drop(&mut self) {
        if self.belongs_to_parent() {
            // Threads of the parent may have locked its mutexes at the fork, so that a drop could hang.
            if let Ok(peer) = self.peer.get_mut() {
                mem::forget(peer.take());
            }
        } else if let Some(peer) = self.take() {
            drop(self.process.close_in_background(peer));
        }
    }
}
