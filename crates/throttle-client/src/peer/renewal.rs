//! Renews the lease at the server: sends heartbeats, and passes the answers on to the lease. When a heartbeat
//! is due is decided in [`crate::lease`]. A server that forgot the peer is handled in `restore`.

use std::{fmt, sync::MutexGuard, time::Duration};

use throttle_wire::{Code, PeerId};
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
    pub(super) async fn heartbeat(&self, peer: PeerId, timeout: Duration) {
        let length = self.state().lease.length();
        let sent = self.sending_now();
        match self.with_timeout(timeout, self.single_attempt.heartbeat(peer, length)).await {
            Some(Ok(())) => self.renewed(peer, sent),
            answer => self.not_confirmed(peer, sent, answer.and_then(Result::err)),
        }
    }

    /// The result of a request, or `None` if it takes longer than `timeout`.
    pub(super) async fn with_timeout<T>(
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
    pub(super) fn not_confirmed(&self, peer: PeerId, sent: Sent, error: Option<Error>) {
        if let Some(Error::Refused { code: Code::UnknownPeer, remembers_for, .. }) = error {
            self.unknown_peer(peer, sent, remembers_for);
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

    pub(super) fn confirmed(&self, mut state: MutexGuard<'_, PeerState>, sent: Sent) {
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
        remembers_for: Option<Duration>,
    ) -> Option<Lost> {
        let url = self.if_current(sent.url_index);
        let url = url.filter(|&index| self.state().confirmed_url_index == Some(index));
        let remembers_for = remembers_for.filter(|_| url.is_some());
        let lost =
            self.decide(|lease| lease.unknown_peer(peer, sent.at, self.now(), remembers_for));
        debug!(target: TARGET, peer, url = &*self.server, ?remembers_for, ?lost, "the peer is unknown");
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
    pub(super) fn decide(&self, decide: impl FnOnce(&mut Lease) -> Option<Lost>) -> Option<Lost> {
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
