//! One request for a lock, and what its answer means.

use std::{sync::Arc, time::Duration};

use throttle_wire::{Code, PeerId};
use tokio::sync::watch;
use tracing::{debug, info};

use super::Acquisition;
use crate::{
    Admission, Error, Lost,
    clock::Time,
    peer::{Lock, Shared, TARGET, lock_error::Obstacle, outcome, withdraw::Place},
    sequence::Order,
};

/// What one answer means.
pub(super) enum Outcome {
    Again,
    /// After a pause, for the server answered sooner than it was to.
    AgainLater,
    Held(Lock),
}

/// Why no lock came of an attempt.
pub(super) enum Failure {
    Error(Error),
    Lost(Lost),
    NotInTime,
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl Acquisition {
    /// Asks the server once, for a peer if there is none and then for the lock.
    pub(super) async fn attempt(
        &mut self,
        place: &mut Place,
        outer: &watch::Receiver<Option<Lost>>,
        is_nested: bool,
    ) -> Result<Outcome, Failure> {
        let shared = Arc::clone(&place.shared);
        self.latest.due = Some(shared.now());
        let former = shared.state().lease.peer();
        let Some(known) = self.until_end(shared.known_peer()).await else {
            return Err(Failure::NotInTime);
        };
        let peer = known.map_err(|obstacle| match obstacle {
            Obstacle::Error(error) => Failure::Error(error),
            Obstacle::Lost(lost) => Failure::Lost(lost),
        })?;
        if former.is_none_or(|(former, _)| former != peer) {
            self.answered();
        }
        let lost = *outer.borrow();
        if let Some(lost) = lost.filter(|_| is_nested) {
            // A lock within others that are gone is not what was asked for.
            return Err(lost.into());
        }
        place.peer = Some(peer);
        self.ask(peer, place).await
    }

    /// Asks the server for the lock.
    async fn ask(&mut self, peer: PeerId, place: &mut Place) -> Result<Outcome, Failure> {
        let shared = Arc::clone(&place.shared);
        let sent = shared.sent();
        let (block_for, due) = self.block_for(&shared, sent.0);
        self.latest.due = Some(due);
        let length = shared.state().lease.length();
        let (client, semaphore, count) =
            (shared.single_attempt.clone(), self.semaphore.clone(), self.count);
        let order = place.order;
        // A task of its own: what was sent has to be heard to its end, whoever waits for it.
        let asking = place.asking.insert(shared.runtime.spawn(async move {
            let request = client.acquire(peer, &semaphore, count).expires_in(length);
            // Who asks may not want it any more when it turns out that this came late.
            let mut request = request.order(order);
            if !block_for.is_zero() {
                request = request.block_for(block_for);
            }
            request.await
        }));
        let answered = async {
            tokio::select! {
                biased;
                answer = asking => Some(answer),
                () = shared.alive_by_another_url(sent.1) => None,
            }
        };
        let Some(answer) = self.until_end(answered).await else { return Err(Failure::NotInTime) };
        let asking = place.asking.take();
        let Some(answer) = answer else {
            // If it gets through all the same, it comes after a greater number.
            if let Some(asking) = asking {
                asking.abort();
            }
            return Ok(Outcome::Again);
        };
        match outcome(answer)? {
            Ok(admission) => {
                self.answered();
                self.admitted(peer, &shared, admission, (sent, block_for))
            }
            Err(Error::Refused { code: Code::UnknownPeer, uptime, .. }) => {
                self.answered();
                match shared.unknown_peer(peer, sent, uptime) {
                    // Whoever held nothing has lost nothing but the place in the queue.
                    Some(Lost::Expired) | None => Ok(Outcome::AgainLater),
                    Some(lost) => Err(Failure::Lost(lost)),
                }
            }
            Err(error) if error.is_stale() => {
                self.answered();
                // Another request was faster, such as a release of something else.
                if !error.can_be_followed() {
                    place.order = Order::Ignore;
                }
                shared.clock.sleep_until(shared.now() + OVERTAKEN_PAUSE).await;
                Ok(Outcome::Again)
            }
            Err(error)
                if error.code() == Some(Code::BlockForTooLong) && SHORTEST_POLL < block_for =>
            {
                self.answered();
                shared.state().longest_poll = block_for / 2;
                Ok(Outcome::Again)
            }
            Err(error) => Err(Failure::Error(error)),
        }
    }

    /// The server has told where the peer stands.
    fn admitted(
        &mut self,
        peer: PeerId,
        shared: &Arc<Shared>,
        admission: Admission,
        (sent, block_for): ((Time, usize), Duration),
    ) -> Result<Outcome, Failure> {
        let now = shared.now();
        shared.renewed(peer, sent);
        match admission {
            Admission::Granted { token } => {
                // Not if the answer took so long that it may be over again, or if it comes from before the
                // server forgot the peer.
                let mut state = shared.state();
                if !state.lease.acquired(peer, &self.semaphore, self.count, (sent.0, now)) {
                    return Ok(Outcome::AgainLater);
                }
                let loss = state.loss.subscribe();
                drop(state);
                Ok(Outcome::Held(self.lock(peer, token, loss)))
            }
            Admission::Queued if self.is_try() || self.end.is_some_and(|end| end <= now) => {
                Err(Failure::NotInTime)
            }
            Admission::Queued => {
                self.tell_waiting(peer);
                // A server that shuts down answers at once.
                let is_early = now.since(sent.0) < block_for - block_for / 8;
                if !is_early {
                    self.pauses.reset();
                }
                Ok(if is_early { Outcome::AgainLater } else { Outcome::Again })
            }
        }
    }

    /// For how long the next request may wait, and when its answer is expected.
    ///
    /// The last but one ends some time before the end, so that a server that does not answer is told from one
    /// where the lock is not free. From the last one no answer is expected in time.
    fn block_for(&self, shared: &Shared, now: Time) -> (Duration, Time) {
        if self.is_try() {
            return (Duration::ZERO, now);
        }
        let longest = {
            let state = shared.state();
            let third = state.lease.length() / 3;
            // Without other signs of life this is the only one.
            let is_only = !state.lease.shows_signs_of_life();
            if is_only { state.longest_poll.min(third) } else { state.longest_poll }
        };
        let Some(end) = self.end else { return (longest, now + longest) };
        let left = end.since(now);
        // What is answered then is that the lock is not free, as it was a moment ago.
        if left <= MARGIN && self.latest.is_answered && self.is_waiting {
            return (left.min(longest), end + MARGIN);
        }
        let block_for = longest.min(left.saturating_sub(MARGIN));
        (block_for, now + block_for)
    }

    fn tell_waiting(&mut self, peer: PeerId) {
        if !self.is_waiting {
            self.is_waiting = true;
            let (semaphore, url) = (&*self.semaphore, &*self.peer.shared().server);
            info!(target: TARGET, peer, semaphore, url, "waiting for a lock");
        }
    }

    fn lock(&self, id: PeerId, token: Option<u64>, loss: watch::Receiver<Option<Lost>>) -> Lock {
        let (semaphore, waited) = (&*self.semaphore, self.peer.shared().now().since(self.start));
        if self.is_waiting {
            info!(target: TARGET, peer = id, semaphore, token, ?waited, "held after waiting");
        } else {
            debug!(target: TARGET, peer = id, semaphore, token, "held");
        }
        Lock {
            peer: self.peer.clone(),
            id,
            semaphore: self.semaphore.clone(),
            count: self.count,
            token,
            loss,
            is_released: false,
        }
    }
}

/// A server that does not let requests wait for so long is not asked again and again.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// How long before the end of the time the last but one answer is expected. Who waits less is told at once where
/// they stand, and then waits.
const MARGIN: Duration = Duration::from_millis(500);

/// Before a request is sent again that was overtaken. That is rare; a server that always says so is not to
/// be asked without pause.
const OVERTAKEN_PAUSE: Duration = Duration::from_millis(5);
