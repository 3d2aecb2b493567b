//! Renews the lease at the server: heartbeats, restores, and what their answers mean for the lease.
//! When they are due is decided in [`crate::lease`].

use std::{collections::BTreeMap, fmt, sync::MutexGuard, time::Duration};

use throttle_wire::{Code, PeerId, Restore};
use tracing::{debug, info, warn};

use super::{PeerInner, PeerState, TARGET};
use crate::{
    Error, Lost,
    clock::Time,
    jitter::jitter,
    lease::{Lease, Step},
};

/// When a request was sent, and the index of the URL then in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at: Time,
    pub(super) url_index: usize,
}

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

    pub(super) async fn heartbeat(&self, peer: PeerId, timeout: Duration) {
        let length = self.state().lease.length();
        let sent = self.sending_now();
        match self.with_timeout(timeout, self.single_attempt.heartbeat(peer, length)).await {
            Some(Ok(())) => self.renewed(peer, sent),
            answer => self.not_confirmed(peer, sent, answer.and_then(Result::err)),
        }
    }

    /// The result of a request, or `None` if it takes longer than `timeout`.
    async fn with_timeout<T>(
        &self,
        timeout: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        let until = self.now() + timeout;
        tokio::select! {
            biased;
            answer = request => Some(answer),
            () = self.clock.sleep_until(until) => None,
        }
    }

    /// Handles a request that did not confirm the peer. Without an error there was no answer in time.
    fn not_confirmed(&self, peer: PeerId, sent: Sent, error: Option<Error>) {
        if let Some(Error::Refused { code: Code::UnknownPeer, uptime, .. }) = error {
            self.unknown_peer(peer, sent, uptime);
            return;
        }
        match error {
            Some(ref error @ Error::Refused { code, .. }) if error.is_refusal() => {
                warn!(target: TARGET, peer, url = &*self.server, %error, "the peer is refused");
                self.decide(|lease| lease.refused(peer, self.now(), code));
            }
            error => {
                if error.is_none() {
                    self.single_attempt.fail_over(sent.url_index);
                }
                self.state().lease.no_answer(peer, self.now(), jitter());
                let error: &dyn fmt::Display = error.as_ref().map_or(&"no answer in time", |it| it);
                warn!(
                    target: TARGET, peer, url = &*self.server, %error, "a heartbeat was not confirmed"
                );
            }
        }
    }

    /// The error when the caller's time is over.
    pub(super) fn no_answer_error(&self) -> Error {
        let endpoint = self.client.first_url().endpoint().clone();
        Error::Timeout { endpoint, source: "the time that was given for it is over".into() }
    }

    /// The current time and URL, to be read before a request is sent.
    pub(super) fn sending_now(&self) -> Sent {
        Sent { at: self.now(), url_index: self.single_attempt.base_url_index() }
    }

    /// Handles an answer that renewed the lease.
    pub(super) fn renewed(&self, peer: PeerId, sent: Sent) {
        let mut state = self.state();
        if state.lease.renewed(peer, sent.at, self.now(), jitter()) {
            self.confirmed(state, sent);
        }
    }

    fn confirmed(&self, mut state: MutexGuard<'_, PeerState>, sent: Sent) {
        state.confirmed_url_index = self.if_current(sent.url_index);
        drop(state);
        self.confirmed.send_modify(|latest| *latest = (*latest).max(Some(sent.at)));
        debug!(target: TARGET, url = &*self.server, "the lease was renewed");
    }

    /// Handles the answer `unknown_peer`. Returns the loss if the peer is lost.
    pub(super) fn unknown_peer(
        &self,
        peer: PeerId,
        sent: Sent,
        uptime: Option<Duration>,
    ) -> Option<Lost> {
        let url = self.if_current(sent.url_index);
        let url = url.filter(|&index| self.state().confirmed_url_index == Some(index));
        let uptime = uptime.filter(|_| url.is_some());
        let lost = self.decide(|lease| lease.unknown_peer(peer, sent.at, self.now(), uptime));
        debug!(target: TARGET, peer, url = &*self.server, ?uptime, ?lost, "the peer is unknown");
        self.lease_changed.notify_one();
        lost
    }

    /// The index if no failover happened since, so that the answer is known to come from that URL.
    pub(super) fn if_current(&self, url_index: usize) -> Option<usize> {
        (self.single_attempt.base_url_index() == url_index).then_some(url_index)
    }

    /// The next step of the lease. Reports the loss if that is the step.
    pub(super) fn next_step(&self) -> Step {
        let mut step = Step::Idle;
        self.decide(|lease| {
            step = lease.poll(self.now());
            if let Step::Lost(lost) = step { Some(lost) } else { None }
        });
        step
    }

    /// Lets the lease decide whether the peer is lost, and reports the loss. Logs after the state is
    /// unlocked, because a subscriber may read the peer.
    fn decide(&self, decide: impl FnOnce(&mut Lease) -> Option<Lost>) -> Option<Lost> {
        let mut state = self.state();
        let (peer, held_anything) = (state.lease.peer(), state.lease.holds_anything());
        let lost = decide(&mut state.lease)?;
        state.loss.send_replace(Some(lost));
        drop(state);
        let url = &*self.server;
        if held_anything {
            warn!(target: TARGET, peer, url, %lost, "the peer lost all that it held");
        } else {
            info!(target: TARGET, peer, url, %lost, "the peer is gone, and held nothing");
        }
        Some(lost)
    }
}
