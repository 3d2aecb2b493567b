//! Creates the peer at the server, or waits until the server knows it again.

use std::{sync::Arc, time::Duration};

use throttle_wire::{Code, Labels, PeerId};
use tokio::sync::OwnedMutexGuard;
use tracing::{debug, info};

use super::{PeerInner, TARGET, heartbeat_task, lock_error::PeerError, task_result};
use crate::{Error, Lost, jitter::jitter};

impl PeerInner {
    /// The peer, after making sure that the server knows it. If the server has to be asked for a new one, it
    /// is asked once.
    pub(super) async fn registered_peer(self: &Arc<Self>) -> Result<PeerId, PeerError> {
        loop {
            let server_sync = Arc::clone(&self.server_sync).lock_owned().await;
            if self.closing.borrow().is_some() {
                return Err(Lost::Closed.into());
            }
            self.next_step();
            let known = self.state().lease.peer();
            match known {
                Some((peer, true)) => {
                    // That is up to the background task, which is not dropped with whoever asks.
                    drop(server_sync);
                    self.until_restored(peer).await;
                }
                Some((peer, false)) => return Ok(peer),
                None => {
                    // A task of its own: a peer that the server has made is not to be left behind by
                    // somebody who does not wait for it.
                    let opening = self.runtime.spawn(Arc::clone(self).open(server_sync));
                    return Ok(task_result(opening.await)??);
                }
            }
        }
    }

    /// Returns when the server knows the peer, or the peer is lost.
    pub(super) async fn until_restored(&self, peer: PeerId) {
        let mut confirmed = self.confirmed.subscribe();
        loop {
            self.next_step();
            let (known, mut loss) = {
                let state = self.state();
                (state.lease.peer(), state.loss.subscribe())
            };
            if known != Some((peer, true)) {
                return;
            }
            self.lease_changed.notify_one();
            tokio::select! {
                // The senders are in here. Another life of the peer has another one, and is there later.
                _ = confirmed.changed() => {}
                _ = loss.wait_for(Option::is_some) => {}
                // Also if the background task is not as punctual.
                () = self.clock.sleep_until(self.now() + LOSS_CHECK_INTERVAL) => {}
            }
        }
    }

    /// Returns when another URL than that of this index has turned out to keep the peer alive.
    pub(super) async fn until_confirmed_at_another_url(&self, index: usize) {
        let mut confirmed = self.confirmed.subscribe();
        // The sender is in here.
        while confirmed.changed().await.is_ok() && self.single_attempt.base_url_index() == index {}
    }

    /// Lets the server create a peer.
    async fn open(self: Arc<Self>, _server_sync: OwnedMutexGuard<()>) -> Result<PeerId, Error> {
        let length = self.state().lease.length();
        let (mut sent, mut url) = self.sent();
        let mut peer = self.single_attempt.new_peer(length).labels(self.labels()).await;
        if peer.as_ref().is_err_and(|error| self.drop_default_labels_after(error)) {
            (sent, url) = self.sent();
            peer = self.single_attempt.new_peer(length).labels(self.labels()).await;
        }
        let peer = peer?;
        info!(target: TARGET, peer, url = &*self.server, lease = ?length, "the peer is there");
        let mut state = self.state();
        state.lease.created(peer, sent, jitter());
        state.url = self.if_current(url);
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

    /// What the server is told about the peer for people.
    pub(super) fn labels(&self) -> Labels {
        if self.state().default_labels_refused {
            return self.labels.clone();
        }
        self.default_labels.clone().into_iter().chain(self.labels.clone()).collect()
    }

    /// Does without the labels that are only good to have, if that can help.
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

/// For how long whoever waits for the background task may not notice that it does nothing.
const LOSS_CHECK_INTERVAL: Duration = Duration::from_secs(1);
