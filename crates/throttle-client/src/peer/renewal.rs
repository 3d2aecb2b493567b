//! What is told to the server to keep a peer alive, and what its answers mean for the lease.

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

/// When a request was sent, and by which of several URLs at first.
pub(super) type Sent = (Time, usize);

impl PeerInner {
    /// Tells the server what the peer holds. Called with `telling` held.
    pub(super) async fn restore(
        &self,
        peer: PeerId,
        locks: BTreeMap<String, u64>,
        timeout: Duration,
    ) {
        let (url, names) = (&*self.server, locks.keys().map(String::as_str).collect::<Vec<_>>());
        let semaphores = names.join(", ");
        warn!(target: TARGET, peer, url, semaphores, "the server is told what the peer holds");
        let expires_in = self.state().lease.length();
        // Granted counts fit: the greatest one is 2^53 - 1.
        let locks = locks.into_iter();
        let acquired =
            locks.map(|(name, count)| (name, i64::try_from(count).unwrap_or(i64::MAX))).collect();
        let labels = self.labels();
        let restore = Restore { expires_in, peer_id: peer, acquired, labels, sequence: None };
        let sent = self.sent();
        let answer = self.with_timeout(timeout, self.single_attempt.restore(&restore)).await;
        if let Some(Ok(())) = answer {
            info!(target: TARGET, peer, url, semaphores, "the server knows the peer again");
            let mut state = self.state();
            if state.lease.restored(peer, sent.0, self.now(), jitter()) {
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

    /// Asks the server what the peer holds, after it refused to be told. Called with `telling` held.
    pub(super) async fn inspect(&self, peer: PeerId, timeout: Duration) {
        let sent = self.sent();
        match self.with_timeout(timeout, self.single_attempt.peer(peer)).await {
            Some(Ok(status)) => {
                let held = status.held.into_iter().map(|lock| (lock.semaphore, lock.count));
                let held = held.collect();
                let lost = self.decide(|lease| lease.inspected(peer, sent.0, self.now(), &held));
                if lost.is_some() {
                    // What is left of it there is of no use to anybody.
                    let client = self.client.clone();
                    self.runtime.spawn(async move { client.remove_peer(peer).await });
                }
            }
            answer => self.not_confirmed(peer, sent, answer.and_then(Result::err)),
        }
    }

    /// Sends a heartbeat.
    pub(super) async fn heartbeat(&self, peer: PeerId, timeout: Duration) {
        let length = self.state().lease.length();
        let sent = self.sent();
        match self.with_timeout(timeout, self.single_attempt.heartbeat(peer, length)).await {
            Some(Ok(())) => self.renewed(peer, sent),
            answer => self.not_confirmed(peer, sent, answer.and_then(Result::err)),
        }
    }

    /// What comes of a request, unless that takes longer than it may.
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

    /// The server has not confirmed the peer, for this reason; without one it has not answered.
    fn not_confirmed(&self, peer: PeerId, (sent, url): Sent, error: Option<Error>) {
        if let Some(Error::Refused { code: Code::UnknownPeer, uptime, .. }) = error {
            self.unknown_peer(peer, (sent, url), uptime);
            return;
        }
        match error {
            Some(ref error @ Error::Refused { code, .. }) if error.is_refusal() => {
                warn!(target: TARGET, peer, url = &*self.server, %error, "the peer is refused");
                self.decide(|lease| lease.refused(peer, self.now(), code));
            }
            error => {
                if error.is_none() {
                    self.single_attempt.fail_over(url);
                }
                self.state().lease.no_answer(peer, self.now(), jitter());
                let error: &dyn fmt::Display = error.as_ref().map_or(&"no answer in time", |it| it);
                warn!(
                    target: TARGET, peer, url = &*self.server, %error, "a heartbeat was not confirmed"
                );
            }
        }
    }

    /// For whom there is no time to wait for an answer any longer.
    pub(super) fn no_answer_error(&self) -> Error {
        let endpoint = self.client.first_url().endpoint().clone();
        Error::Timeout { endpoint, source: "the time that was given for it is over".into() }
    }

    /// Now, and the URL in use.
    pub(super) fn sent(&self) -> Sent {
        (self.now(), self.single_attempt.base_url_index())
    }

    /// The server has answered something that let the lease begin anew.
    pub(super) fn renewed(&self, peer: PeerId, sent: Sent) {
        let mut state = self.state();
        if state.lease.renewed(peer, sent.0, self.now(), jitter()) {
            self.confirmed(state, sent);
        }
    }

    fn confirmed(&self, mut state: MutexGuard<'_, PeerState>, (sent, url): Sent) {
        state.url = self.if_current(url);
        drop(state);
        self.confirmed.send_modify(|latest| *latest = (*latest).max(Some(sent)));
        debug!(target: TARGET, url = &*self.server, "the lease began anew");
    }

    /// The server said that it does not know the peer. Returns why everything is lost, if it is.
    pub(super) fn unknown_peer(
        &self,
        peer: PeerId,
        (sent, url): Sent,
        uptime: Option<Duration>,
    ) -> Option<Lost> {
        let url = self.if_current(url).filter(|&url| self.state().url == Some(url));
        let uptime = uptime.filter(|_| url.is_some());
        let lost = self.decide(|lease| lease.unknown_peer(peer, sent, self.now(), uptime));
        debug!(target: TARGET, peer, url = &*self.server, ?uptime, ?lost, "the peer is unknown");
        self.lease_changed.notify_one();
        lost
    }

    /// The URL that was in use before a request, if it still is, so that the answer came from there.
    pub(super) fn if_current(&self, url: usize) -> Option<usize> {
        (self.single_attempt.base_url_index() == url).then_some(url)
    }

    /// What to do now. If that is to say that everything is lost, it is said here.
    pub(super) fn next_step(&self) -> Step {
        let mut step = Step::Idle;
        self.decide(|lease| {
            step = lease.poll(self.now());
            if let Step::Lost(lost) = step { Some(lost) } else { None }
        });
        step
    }

    /// Lets the lease decide whether everything is lost, and says so if it is. Nothing is told to others while
    /// the state is locked, for they may ask the peer about itself.
    fn decide(&self, decide: impl FnOnce(&mut Lease) -> Option<Lost>) -> Option<Lost> {
        let mut state = self.state();
        let (peer, held_anything) = (state.lease.peer(), state.lease.holds_anything());
        let lost = decide(&mut state.lease)?;
        state.loss.send_replace(Some(lost));
        drop(state);
        let (peer, url) = (peer.map(|(peer, _)| peer), &*self.server);
        if held_anything {
            warn!(target: TARGET, peer, url, %lost, "the peer lost all that it held");
        } else {
            info!(target: TARGET, peer, url, %lost, "the peer is gone, and held nothing");
        }
        Some(lost)
    }
}
