//! Creates the peer at the server, or waits until the server knows it again.

use std::{sync::Arc, time::Duration};

use throttle_wire::{Code, Labels, PeerId};
use tokio::sync::OwnedMutexGuard;
use tracing::{debug, info};

use super::{Shared, TARGET, heartbeat_task, lock_error::Obstacle, outcome};
use crate::{Error, Lost, jitter::jitter};

impl Shared {
    /// The peer, after making sure that the server knows it. If the server has to be asked for a new one, it
    /// is asked once.
    pub(super) async fn known_peer(self: &Arc<Self>) -> Result<PeerId, Obstacle> {
        loop {
            let telling = Arc::clone(&self.telling).lock_owned().await;
            if self.closing.borrow().is_some() {
                return Err(Lost::Closed.into());
            }
            self.next_step();
            let known = self.state().lease.peer();
            match known {
                Some((peer, true)) => {
                    // That is up to the background task, which is not dropped with whoever asks.
                    drop(telling);
                    self.known_again(peer).await;
                }
                Some((peer, false)) => return Ok(peer),
                None => {
                    // A task of its own: a peer that the server has made is not to be left behind by
                    // somebody who does not wait for it.
                    let opening = self.runtime.spawn(Arc::clone(self).open(telling));
                    return Ok(outcome(opening.await)??);
                }
            }
        }
    }

    /// Returns when the server knows the peer, or the peer is lost.
    pub(super) async fn known_again(&self, peer: PeerId) {
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
            self.changed.notify_one();
            tokio::select! {
                // The senders are in here. Another life of the peer has another one, and is there later.
                _ = confirmed.changed() => {}
                _ = loss.wait_for(Option::is_some) => {}
                // Also if the background task is not as punctual.
                () = self.clock.sleep_until(self.now() + LONGEST_UNAWARE) => {}
            }
        }
    }

    /// Returns when another URL than that of this index has turned out to keep the peer alive.
    pub(super) async fn alive_by_another_url(&self, index: usize) {
        let mut confirmed = self.confirmed.subscribe();
        // The sender is in here.
        while confirmed.changed().await.is_ok() && self.single_attempt.base_url_index() == index {}
    }

    /// Lets the server create a peer.
    async fn open(self: Arc<Self>, _telling: OwnedMutexGuard<()>) -> Result<PeerId, Error> {
        let length = self.state().lease.length();
        let (mut sent, mut url) = self.sent();
        let mut peer = self.single_attempt.new_peer(length).labels(self.labels()).await;
        if peer.as_ref().is_err_and(|error| self.gives_up_default_labels(error)) {
            (sent, url) = self.sent();
            peer = self.single_attempt.new_peer(length).labels(self.labels()).await;
        }
        let peer = peer?;
        info!(target: TARGET, peer, url = &*self.server, lease = ?length, "the peer is there");
        let mut state = self.state();
        state.lease.opened(peer, sent, jitter());
        state.url = self.unchanged(url);
        if state.loss.borrow().is_some() {
            state.loss = tokio::sync::watch::Sender::new(None);
        }
        if !state.has_background {
            state.has_background = true;
            heartbeat_task::start(&self);
        }
        drop(state);
        self.changed.notify_one();
        Ok(peer)
    }

    /// What the server is told about the peer for people.
    pub(super) fn labels(&self) -> Labels {
        if self.state().refuses_default_labels {
            return self.labels.clone();
        }
        self.default_labels.clone().into_iter().chain(self.labels.clone()).collect()
    }

    /// Does without the labels that are only good to have, if that can help.
    pub(super) fn gives_up_default_labels(&self, error: &Error) -> bool {
        let is_about_labels =
            matches!(error.code(), Some(Code::LabelsTooLarge | Code::TooManyLabelBytes));
        let mut state = self.state();
        if !is_about_labels || state.refuses_default_labels || self.default_labels.is_empty() {
            return false;
        }
        state.refuses_default_labels = true;
        drop(state);
        debug!(target: TARGET, url = &*self.server, %error, "without default labels from now on");
        true
    }
}

/// For how long whoever waits for the background task may not notice that it does nothing.
const LONGEST_UNAWARE: Duration = Duration::from_secs(1);
