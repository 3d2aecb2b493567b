//! What is told to the server to keep a peer alive, and what its answers mean for the lease.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use throttle_wire::{Code, Labels, PeerId, Restore};
use tokio::sync::OwnedMutexGuard;
use tracing::{debug, info, warn};

use super::{Shared, State, TARGET, background, error::Obstacle, outcome};
use crate::{
    Error, Lost,
    lease::Step,
    world::{self, Time},
};

/// When a request was sent, and by which of several URLs at first.
pub(super) type Sent = (Time, usize);

impl Shared {
    /// The peer, after making sure that the server knows it. If the server has to be asked for a new one, it
    /// is asked once.
    pub(super) async fn known_peer(self: &Arc<Self>) -> Result<PeerId, Obstacle> {
        loop {
            let telling = Arc::clone(&self.telling).lock_owned().await;
            if self.closing.borrow().is_some() {
                return Err(Lost::Closed.into());
            }
            let known = {
                let mut state = self.state();
                self.next_step(&mut state);
                state.lease.peer()
            };
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
        loop {
            let known = {
                let mut state = self.state();
                self.next_step(&mut state);
                state.lease.peer()
            };
            if known != Some((peer, true)) {
                return;
            }
            self.changed.notify_one();
            self.clock.sleep_until(self.now() + RESTORE_PAUSE).await;
        }
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
        state.lease.opened(peer, sent, world::jitter());
        state.url = self.unchanged(url);
        if state.loss.borrow().is_some() {
            state.loss = tokio::sync::watch::Sender::new(None);
        }
        if !state.has_background {
            state.has_background = true;
            background::start(&self);
        }
        drop(state);
        self.changed.notify_one();
        Ok(peer)
    }

    /// What the server is told about the peer for people.
    fn labels(&self) -> Labels {
        if self.state().refuses_default_labels {
            return self.labels.clone();
        }
        self.default_labels.clone().into_iter().chain(self.labels.clone()).collect()
    }

    /// Does without the labels that are only good to have, if that can help.
    fn gives_up_default_labels(&self, error: &Error) -> bool {
        let is_about_labels =
            matches!(error.code(), Some(Code::LabelsTooLarge | Code::TooManyLabelBytes));
        let mut state = self.state();
        if !is_about_labels || state.refuses_default_labels || self.default_labels.is_empty() {
            return false;
        }
        debug!(target: TARGET, url = &*self.server, %error, "without default labels from now on");
        state.refuses_default_labels = true;
        true
    }

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
        let answer = self.within(timeout, self.single_attempt.restore(&restore)).await;
        if let Some(Ok(())) = answer {
            info!(target: TARGET, peer, url, semaphores, "the server knows the peer again");
            let mut state = self.state();
            if state.lease.restored(peer, sent.0, self.now(), world::jitter()) {
                self.confirmed(&mut state, sent);
            }
            return;
        }
        if let Some(Err(error)) = &answer
            && self.gives_up_default_labels(error)
        {
            return;
        }
        self.not_confirmed(peer, sent, answer.and_then(Result::err));
    }

    /// Asks the server what the peer holds, after it refused to be told. Called with `telling` held.
    pub(super) async fn inspect(&self, peer: PeerId, timeout: Duration) {
        let sent = self.sent();
        match self.within(timeout, self.single_attempt.peer(peer)).await {
            Some(Ok(status)) => {
                let held = status.held.into_iter().map(|lock| (lock.semaphore, lock.count));
                let mut state = self.state();
                let lost = state.lease.inspected(peer, sent.0, self.now(), &held.collect());
                if let Some(lost) = lost {
                    self.announce(&state, peer, lost);
                    drop(state);
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
        match self.within(timeout, self.single_attempt.heartbeat(peer, length)).await {
            Some(Ok(())) => self.renewed(&mut self.state(), peer, sent),
            answer => self.not_confirmed(peer, sent, answer.and_then(Result::err)),
        }
    }

    /// What comes of a request, unless that takes longer than it may.
    async fn within<T>(
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
        let mut state = self.state();
        match error {
            Some(ref error @ Error::Refused { code, .. }) if error.is_refusal() => {
                let lost = state.lease.refused(peer, self.now(), code);
                warn!(target: TARGET, peer, url = &*self.server, %error, "the peer is refused");
                if let Some(lost) = lost {
                    self.announce(&state, peer, lost);
                }
            }
            error => {
                if error.is_none() {
                    self.single_attempt.use_next_base_url(url);
                }
                state.lease.no_answer(peer, self.now(), world::jitter());
                let error: &dyn fmt::Display = error.as_ref().map_or(&"no answer in time", |it| it);
                warn!(
                    target: TARGET, peer, url = &*self.server, %error, "a heartbeat was not confirmed"
                );
            }
        }
    }

    /// For whom there is no time to wait for an answer any longer.
    pub(super) fn no_answer(&self) -> Error {
        let endpoint = self.client.base().endpoint().clone();
        Error::Timeout { endpoint, source: "the time that was given for it is over".into() }
    }

    /// Now, and the URL in use.
    pub(super) fn sent(&self) -> Sent {
        (self.now(), self.single_attempt.base_url_index())
    }

    /// The server has answered something that let the lease begin anew.
    pub(super) fn renewed(&self, state: &mut State, peer: PeerId, sent: Sent) {
        if state.lease.renewed(peer, sent.0, self.now(), world::jitter()) {
            self.confirmed(state, sent);
        }
    }

    fn confirmed(&self, state: &mut State, (sent, url): Sent) {
        state.url = self.unchanged(url);
        self.confirmed.send_if_modified(|latest| {
            let is_later = *latest < Some(sent);
            *latest = (*latest).max(Some(sent));
            is_later
        });
        debug!(target: TARGET, url = &*self.server, "the lease began anew");
    }

    /// The server said that it does not know the peer. Returns why everything is lost, if it is.
    pub(super) fn unknown_peer(
        &self,
        peer: PeerId,
        (sent, url): Sent,
        uptime: Option<Duration>,
    ) -> Option<Lost> {
        let mut state = self.state();
        let url = self.unchanged(url);
        let uptime = uptime.filter(|_| url.is_some() && state.url == url);
        let lost = state.lease.unknown_peer(peer, sent, self.now(), uptime);
        debug!(target: TARGET, peer, url = &*self.server, ?uptime, ?lost, "the peer is unknown");
        if let Some(lost) = lost {
            self.announce(&state, peer, lost);
        }
        self.changed.notify_one();
        lost
    }

    /// The URL that was in use before a request, if it still is, so that the answer came from there.
    fn unchanged(&self, url: usize) -> Option<usize> {
        (self.single_attempt.base_url_index() == url).then_some(url)
    }

    /// What to do now. If that is to say that everything is lost, it is said here.
    pub(super) fn next_step(&self, state: &mut State) -> Step {
        let peer = state.lease.peer();
        let step = state.lease.poll(self.now());
        if let (Step::Lost(lost), Some((peer, _))) = (&step, peer) {
            self.announce(state, peer, *lost);
        }
        step
    }

    fn announce(&self, state: &State, peer: PeerId, lost: Lost) {
        warn!(target: TARGET, peer, url = &*self.server, %lost, "the peer lost all that it held");
        state.loss.send_replace(Some(lost));
    }
}

/// How long to give the background task to restore the peer.
const RESTORE_PAUSE: Duration = Duration::from_millis(10);
