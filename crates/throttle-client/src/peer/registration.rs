//! Creates the peer at the server, or waits until `restore` has made the server know it again.

use std::{sync::Arc, time::Duration};

use throttle_wire::{Code, Labels, PeerId};
use tokio::sync::OwnedMutexGuard;
use tracing::{debug, info};

use super::{PeerInner, TARGET, heartbeat_task, lock_error::PeerError, task_result};
use crate::{Error, Lost, jitter::jitter};

impl PeerInner {
    /// Returns the peer once the server knows it. Creates it with a single request if there is none.
    pub(super) async fn registered_peer(self: &Arc<Self>) -> Result<PeerId, PeerError> {
        loop {
            let server_sync = Arc::clone(&self.server_sync).lock_owned().await;
            if self.closing.borrow().is_some() {
                return Err(Lost::Closed.into());
            }
            self.next_step();
            let (known, needs_restore) = {
                let state = self.state();
                (state.lease.peer(), state.lease.needs_restore())
            };
            match known {
                Some(peer) if needs_restore => {
                    // The heartbeat task restores the peer, because that task survives a dropped caller.
                    drop(server_sync);
                    self.until_restored(peer).await;
                }
                Some(peer) => return Ok(peer),
                None => {
                    // A task of its own, so that a dropped caller does not leave a peer behind at the server.
                    let creating = self.runtime.spawn(Arc::clone(self).create(server_sync));
                    return Ok(task_result(creating.await)??);
                }
            }
        }
    }

    /// Returns when the server knows the peer again, or the peer is lost.
    pub(super) async fn until_restored(&self, peer: PeerId) {
        let mut confirmed = self.confirmed.subscribe();
        loop {
            self.next_step();
            let (is_waiting, mut loss) = {
                let state = self.state();
                let is_same = state.lease.peer() == Some(peer);
                (is_same && state.lease.needs_restore(), state.loss.subscribe())
            };
            if !is_waiting {
                return;
            }
            self.lease_changed.notify_one();
            tokio::select! {
                // The state owns both senders; `loss` is replaced when the peer is created again.
                _ = confirmed.changed() => {}
                _ = loss.wait_for(Option::is_some) => {}
                // The heartbeat task may be late.
                () = self.clock.sleep_until(self.now() + LOSS_CHECK_INTERVAL) => {}
            }
        }
    }

    /// Returns when a heartbeat was confirmed after a failover from the URL of this index.
    pub(super) async fn until_confirmed_at_another_url(&self, index: usize) {
        let mut confirmed = self.confirmed.subscribe();
        // Never an error: `self` owns the sender.
        while confirmed.changed().await.is_ok() && self.single_attempt.base_url_index() == index {}
    }

    /// Creates the peer at the server.
    async fn create(self: Arc<Self>, _server_sync: OwnedMutexGuard<()>) -> Result<PeerId, Error> {
        let length = self.state().lease.length();
        let mut sent = self.sending_now();
        let mut peer = self.single_attempt.new_peer(length).labels(self.labels()).await;
        if peer.as_ref().is_err_and(|error| self.drop_default_labels_after(error)) {
            sent = self.sending_now();
            peer = self.single_attempt.new_peer(length).labels(self.labels()).await;
        }
        let peer = peer?;
        info!(target: TARGET, peer, url = &*self.server, lease = ?length, "the peer is there");
        let mut state = self.state();
        state.lease.created(peer, sent.at, jitter());
        state.confirmed_url_index = self.if_current(sent.url_index);
        if state.loss.borrow().is_some() {
            state.loss = tokio::sync::watch::Sender::new(None);
        }
        if !state.has_heartbeat_task {
            state.has_heartbeat_task = true;
            heartbeat_task::start(&self);
        }
        drop(state);
        self.lease_changed.notify_one();
        Ok(peer)
    }

    /// The labels of the peer, with default ones unless the server refused them.
    pub(super) fn labels(&self) -> Labels {
        if self.state().default_labels_refused {
            return self.labels.clone();
        }
        self.default_labels.clone().into_iter().chain(self.labels.clone()).collect()
    }

    /// Drops the default labels if they are the reason for `error`. Returns whether it did.
    pub(super) fn drop_default_labels_after(&self, error: &Error) -> bool {
        let is_about_labels =
            matches!(error.code(), Some(Code::LabelsTooLarge | Code::TooManyLabelBytes));
        let mut state = self.state();
        if !is_about_labels || state.default_labels_refused || self.default_labels.is_empty() {
            return false;
        }
        state.default_labels_refused = true;
        drop(state);
        debug!(target: TARGET, url = &*self.server, %error, "without default labels from now on");
        true
    }
}

/// How long a late heartbeat task can delay the report of a loss.
const LOSS_CHECK_INTERVAL: Duration = Duration::from_secs(1);
