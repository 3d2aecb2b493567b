//! Restores the peer at a server that forgot it, and asks what the peer holds if the server refuses that.
//! When to do so is decided in [`crate::lease`].

use std::{collections::BTreeMap, time::Duration};

use throttle_wire::{PeerId, Restore};
use tracing::{info, warn};

use super::{PeerInner, TARGET};
use crate::jitter::jitter;

impl PeerInner {
    /// Restores the peer with its locks at a server that forgot it. Call this with `server_sync` held.
    pub(super) async fn restore(
        &self,
        peer: PeerId,
        locks: BTreeMap<String, u64>,
        timeout: Duration,
    ) {
        let (url, names) = (&*self.server, locks.keys().map(String::as_str).collect::<Vec<_>>());
        let semaphores = names.join(", ");
        warn!(target: TARGET, peer, url, semaphores, "the peer and its locks are restored at the server");
        let expires_in = self.state().lease.length();
        // Granted counts fit into i64: the greatest one is 2^53 - 1.
        let locks = locks.into_iter();
        let acquired =
            locks.map(|(name, count)| (name, i64::try_from(count).unwrap_or(i64::MAX))).collect();
        let labels = self.labels();
        let restore = Restore { expires_in, peer_id: peer, acquired, labels, sequence: None };
        let sent = self.sending_now();
        let answer = self.with_timeout(timeout, self.single_attempt.restore(&restore)).await;
        if let Some(Ok(())) = answer {
            info!(target: TARGET, peer, url, semaphores, "the server knows the peer again");
            let mut state = self.state();
            if state.lease.restored(peer, sent.at, self.now(), jitter()) {
                self.confirmed(state, sent);
            }
            return;
        }
        if let Some(Err(error)) = &answer
            && self.drop_default_labels_after(error)
        {
            return;
        }
        self.not_confirmed(peer, sent, answer.and_then(Result::err));
    }

    /// Asks the server what the peer holds, after a restore conflict. Call this with `server_sync` held.
    pub(super) async fn inspect(&self, peer: PeerId, timeout: Duration) {
        let sent = self.sending_now();
        match self.with_timeout(timeout, self.single_attempt.peer(peer)).await {
            Some(Ok(status)) => {
                let held = status.held.into_iter().map(|lock| (lock.semaphore, lock.count));
                let held = held.collect();
                let lost = self.decide(|lease| lease.inspected(peer, sent.at, self.now(), &held));
                if lost.is_some() {
                    // Nobody can use the rest of the peer at the server.
                    let client = self.client.clone();
                    self.runtime.spawn(async move { client.remove_peer(peer).await });
                }
            }
            answer => self.not_confirmed(peer, sent, answer.and_then(Result::err)),
        }
    }
}
