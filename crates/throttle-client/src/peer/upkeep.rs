//! What is told to the server to keep a peer alive, and what its answers mean for the lease.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use throttle_wire::{Code, PeerId, Restore};
use tokio::sync::{OwnedMutexGuard, watch};
use tracing::{debug, info, warn};

use super::{Shared, State, TARGET, error::Obstacle, keeper, outcome};
use crate::{
    Error, Lost,
    lease::Step,
    world::{self, Time},
};

impl Shared {
    /// The peer, after making sure that the server knows it.
    pub(super) async fn known_peer(self: &Arc<Self>) -> Result<PeerId, Obstacle> {
        loop {
            let upkeep = Arc::clone(&self.upkeep).lock_owned().await;
            if self.closing.borrow().is_some() {
                return Err(Lost::Closed.into());
            }
            let (step, known) = {
                let mut state = self.state();
                (self.next_step(&mut state), state.lease.peer())
            };
            match (step, known) {
                (Step::Restore { .. } | Step::Wait(_), Some((_, true))) => {
                    // That is up to the keeper, which is not dropped with whoever asks.
                    drop(upkeep);
                    self.changed.notify_one();
                    self.clock.sleep_until(self.now() + RESTORE_PAUSE).await;
                }
                (_, Some((peer, _))) => return Ok(peer),
                (_, None) => {
                    // A task of its own: a peer that the server has made is not to be left behind by
                    // somebody who does not wait for it.
                    let opening = self.runtime.spawn(Arc::clone(self).open(upkeep));
                    return Ok(outcome(opening.await)??);
                }
            }
        }
    }

    /// Lets the server create a peer.
    async fn open(self: Arc<Self>, _upkeep: OwnedMutexGuard<()>) -> Result<PeerId, Error> {
        let length = self.state().lease.length();
        let (sent, way) = (self.now(), self.client.base_url_index());
        let peer = self.client.new_peer(length).labels(self.labels.clone()).await?;
        info!(target: TARGET, peer, lease = ?length, "the peer is there");
        let mut state = self.state();
        state.lease.opened(peer, sent, self.now(), world::jitter());
        state.way = self.unchanged(way);
        if state.fate.borrow().is_some() {
            state.fate = watch::Sender::new(None);
        }
        if !state.has_keeper {
            state.has_keeper = true;
            keeper::start(&self);
        }
        drop(state);
        self.changed.notify_one();
        Ok(peer)
    }

    /// Tells the server what the peer holds. Called with `upkeep` held.
    pub(super) async fn restore(
        &self,
        peer: PeerId,
        locks: BTreeMap<String, u64>,
        timeout: Duration,
    ) {
        warn!(target: TARGET, peer, "the server forgot the peer, and is told what it holds");
        let expires_in = self.state().lease.length();
        let labels = self.labels.clone();
        // They were granted, so they fit.
        let locks = locks.into_iter();
        let acquired =
            locks.map(|(name, count)| (name, i64::try_from(count).unwrap_or(i64::MAX))).collect();
        let restore = Restore { expires_in, peer_id: peer, acquired, labels, sequence: None };
        self.sign_of_life(peer, self.swift.restore(&restore), timeout).await;
    }

    pub(super) async fn heartbeat(&self, peer: PeerId, timeout: Duration) {
        let length = self.state().lease.length();
        self.sign_of_life(peer, self.swift.heartbeat(peer, length), timeout).await;
    }

    /// Sends something that lets the lease begin anew, and hears what becomes of it.
    async fn sign_of_life(
        &self,
        peer: PeerId,
        request: impl Future<Output = Result<(), Error>>,
        timeout: Duration,
    ) {
        let (sent, way) = (self.now(), self.swift.base_url_index());
        let answer = tokio::select! {
            biased;
            answer = request => Some(answer),
            () = self.clock.sleep_until(sent + timeout) => None,
        };
        let mut state = self.state();
        let now = self.now();
        let lost = match answer {
            Some(Ok(())) => {
                self.renewed(&mut state, peer, (sent, way));
                None
            }
            Some(Err(Error::Refused { code: Code::UnknownPeer, uptime, .. })) => {
                drop(state);
                self.unknown_peer(peer, (sent, way), uptime);
                return;
            }
            Some(Err(ref error @ Error::Refused { code, .. })) if error.is_refusal() => {
                state.lease.refused(peer, now, code)
            }
            failed => {
                if failed.is_none() {
                    self.swift.use_next_base_url(way);
                }
                state.lease.no_answer(peer, now, world::jitter());
                let error = failed.and_then(Result::err);
                let error: &dyn fmt::Display = error.as_ref().map_or(&"no answer in time", |it| it);
                warn!(target: TARGET, peer, %error, "no sign of life got through");
                None
            }
        };
        if let Some(lost) = lost {
            Self::announce(&state, peer, lost);
        }
    }

    /// The server has answered something that let the lease begin anew. It was sent at that instant, on
    /// that way at first.
    pub(super) fn renewed(&self, state: &mut State, peer: PeerId, (sent, way): (Time, usize)) {
        state.lease.renewed(peer, sent, self.now(), world::jitter());
        state.way = self.unchanged(way);
        debug!(target: TARGET, peer, "the lease began anew");
    }

    /// The server said that it does not know the peer. Returns why everything is lost, if it is.
    pub(super) fn unknown_peer(
        &self,
        peer: PeerId,
        (sent, way): (Time, usize),
        uptime: Option<Duration>,
    ) -> Option<Lost> {
        let mut state = self.state();
        let way = self.unchanged(way);
        let uptime = uptime.filter(|_| way.is_some() && state.way == way);
        let lost = state.lease.unknown_peer(peer, sent, self.now(), uptime);
        if let Some(lost) = lost {
            Self::announce(&state, peer, lost);
        }
        self.changed.notify_one();
        lost
    }

    /// The way that was in use before a request, if it still is, so that the answer came on it.
    fn unchanged(&self, way: usize) -> Option<usize> {
        (self.client.base_url_index() == way).then_some(way)
    }

    /// What to do now. If that is to say that everything is lost, it is said here.
    pub(super) fn next_step(&self, state: &mut State) -> Step {
        let peer = state.lease.peer();
        let step = state.lease.poll(self.now());
        if let (Step::Lost(lost), Some((peer, _))) = (&step, peer) {
            Self::announce(state, peer, *lost);
        }
        step
    }

    fn announce(state: &State, peer: PeerId, lost: Lost) {
        warn!(target: TARGET, peer, %lost, "the peer lost all that it held");
        state.fate.send_replace(Some(lost));
    }
}

/// How long to give the keeper to restore the peer.
const RESTORE_PAUSE: Duration = Duration::from_millis(10);
