//! Asking for a lock, until it is there, the time is over or nobody wants it any more.
//!
//! Every request is an attempt of its own. The time of whoever asks is the only limit: attempts that get no
//! answer are repeated until then, after pauses that grow, and the last cause is told.

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use throttle_wire::{Code, PeerId};
use tokio::sync::{OwnedMutexGuard, watch};
use tracing::{debug, info, warn};

use super::{
    End, LONGEST_POLL, Lock, LockError, Peer, Shared, TARGET,
    error::{Obstacle, Subject},
    outcome,
    patience::{Complaints, Latest, Pauses},
    place::Place,
};
use crate::{
    Admission, Error, Lost,
    order::Order,
    world::{self, Time},
};

/// A lock that is asked for.
pub(super) struct Acquisition {
    peer: Peer,
    semaphore: String,
    count: u64,
    wait_at_most: Option<Duration>,
    start: Time,
    /// When to give up.
    end: Option<Time>,
    pauses: Pauses,
    complaints: Complaints,
    latest: Latest,
    is_waiting: bool,
}

/// What one answer means.
enum Outcome {
    Again,
    /// After a pause, for the server answered sooner than it was to.
    AgainLater,
    Held(Lock),
}

/// Why no lock came of an attempt.
enum Failure {
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
    pub(super) fn new(
        peer: Peer,
        semaphore: String,
        count: u64,
        wait_at_most: Option<Duration>,
    ) -> Self {
        let start = peer.shared().now();
        let end =
            wait_at_most.map(|span| start + if span.is_zero() { TRY_LOCK_TIMEOUT } else { span });
        Self {
            peer,
            semaphore,
            count,
            wait_at_most,
            start,
            end,
            pauses: Pauses::default(),
            complaints: Complaints::default(),
            latest: Latest::default(),
            is_waiting: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<Lock, LockError> {
        let shared = Arc::clone(self.peer.shared());
        // A name that nobody can ask for is refused before anything is begun.
        if let Err(error) = shared.client.base().join_name("", &self.semaphore) {
            return Err(self.subject().failed(error));
        }
        let acquiring = match self.until_end(self.alone(&shared)).await {
            Some(acquiring) => acquiring?,
            // Only an answer to a release is missing then.
            None if !shared.releasing.borrow().is_empty() => {
                return Err(self.subject().unreachable(shared.no_answer()));
            }
            None => return Err(self.not_in_time()),
        };
        let (outer, is_nested) = {
            let state = shared.state();
            (state.loss.subscribe(), state.lease.holds_anything())
        };
        let mut place = Place {
            shared: Arc::clone(&shared),
            semaphore: self.semaphore.clone(),
            peer: None,
            order: Order::Keep,
            asking: None,
            acquiring: Some(acquiring),
        };
        loop {
            let failure = match self.attempt(&mut place, &outer, is_nested).await {
                Ok(Outcome::Held(lock)) => {
                    place.peer = None;
                    return Ok(lock);
                }
                Ok(Outcome::Again) => continue,
                Ok(Outcome::AgainLater) => None,
                Err(Failure::Error(error)) if is_transient(&error) => Some(error),
                Err(failure) => return Err(self.give_up(place, failure).await),
            };
            let mut pause = self.pauses.next(world::jitter());
            if let Some(error) = failure {
                pause += error.retry_after().unwrap_or_default().min(LONGEST_POLL);
                self.complain(&error);
                self.latest = Latest { error: Some(error), ..Latest::default() };
                if self.is_try() {
                    return Err(self.out_of_time(place).await);
                }
            }
            let pause = shared.clock.sleep_until(shared.now() + pause);
            if self.until_end(pause).await.is_none() {
                return Err(self.out_of_time(place).await);
            }
        }
    }

    /// Asks the server once, for a peer if there is none and then for the lock.
    async fn attempt(
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

    /// Waits until nobody else asks for a lock of this peer, and nothing is being given back: it might be of a
    /// level at which this one would be refused.
    async fn alone(&self, shared: &Arc<Shared>) -> Result<OwnedMutexGuard<()>, LockError> {
        let acquiring = Arc::clone(&shared.acquiring);
        let acquiring = if self.is_try() {
            let mut releasing = shared.releasing.subscribe();
            tokio::select! {
                biased;
                acquiring = Arc::clone(&acquiring).lock_owned() => acquiring,
                // Who holds it waits for a lock itself, so this one is not to be had at this moment; unless
                // it has given up, and withdraws.
                _ = releasing.wait_for(BTreeSet::is_empty) => {
                    acquiring.try_lock_owned().map_err(|_| self.not_in_time())?
                }
            }
        } else {
            acquiring.lock_owned().await
        };
        loop {
            // Looked at before: as long as nobody else asks, there can only be less afterwards. So if it was
            // not held, what is being given back now is all there is.
            let was_held = shared.holds(&self.semaphore);
            let mut releasing = shared.releasing.subscribe();
            // The sender is in `shared`, so there is always an answer.
            let _ = releasing.wait_for(BTreeSet::is_empty).await;
            if !was_held {
                return Ok(acquiring);
            }
            if shared.holds(&self.semaphore) {
                return Err(self.subject().already_held());
            }
        }
    }

    /// What comes of something, unless the time is over before.
    async fn until_end<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(end) = self.end else { return Some(work.await) };
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.peer.shared().clock.sleep_until(end) => None,
        }
    }

    /// No lock comes of it. Returns why, when what may be left of it at the server is withdrawn.
    async fn give_up(self, mut place: Place, failure: Failure) -> LockError {
        match failure {
            Failure::NotInTime => self.out_of_time(place).await,
            Failure::Lost(lost) => {
                place.peer = None;
                self.subject().lost(lost)
            }
            Failure::Error(error) => {
                // Whatever was refused is not pending, and whatever else failed may be.
                if error.is_refusal() {
                    place.peer = None;
                }
                self.leave(place).await;
                self.subject().failed(error)
            }
        }
    }

    /// The time is over.
    async fn out_of_time(mut self, place: Place) -> LockError {
        let now = place.shared.now();
        let silence = mem::take(&mut self.latest).silence(now, || place.shared.no_answer());
        match silence {
            Some(error) => {
                drop(place);
                self.subject().unreachable(error)
            }
            None => {
                self.leave(place).await;
                self.not_in_time()
            }
        }
    }

    /// Gives up the place, and waits a little for the server to hear of it.
    async fn leave(&self, mut place: Place) {
        let shared = Arc::clone(&place.shared);
        let left = async {
            if self.peer.is_sole() {
                // With the peer goes its place.
                place.peer = None;
                shared.close(End::Remove).await;
            } else if let Some(withdrawal) = place.give_up() {
                // It ends early only if the runtime does.
                let _ = withdrawal.await;
            }
        };
        tokio::select! {
            biased;
            () = left => {}
            () = shared.clock.sleep_until(shared.now() + WITHDRAWAL) => {}
        }
    }

    fn is_try(&self) -> bool {
        self.wait_at_most.is_some_and(|span| span.is_zero())
    }

    fn subject(&self) -> Subject {
        self.peer.shared().subject(&self.semaphore)
    }

    fn not_in_time(&self) -> LockError {
        self.subject().not_in_time(self.wait_at_most.unwrap_or_default())
    }

    fn answered(&mut self) {
        self.latest = Latest { is_answered: true, ..Latest::default() };
        self.complaints.answered();
    }

    fn complain(&mut self, error: &Error) {
        let shared = self.peer.shared();
        let (semaphore, url) = (&*self.semaphore, &*shared.server);
        debug!(target: TARGET, semaphore, url, %error, "no answer about a lock");
        if let Some(failing) = self.complaints.failed(shared.now(), self.latest.due) {
            let failing = humantime::format_duration(Duration::from_secs(failing.as_secs()));
            warn!(
                target: TARGET, semaphore, url, %error, %failing,
                "cannot ask for a lock, and goes on trying"
            );
        }
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

/// Whether the next attempt may end otherwise. A server that is broken says so and ends, and another one
/// follows it.
fn is_transient(error: &Error) -> bool {
    let may_recover = matches!(error, Error::Refused { .. }) || error.failure().is_some();
    may_recover && !error.is_refusal()
}

/// A server that does not let requests wait for so long is not asked again and again.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// How long before the end of the time the last but one answer is expected. Who waits less is told at once where
/// they stand, and then waits.
const MARGIN: Duration = Duration::from_millis(500);

/// Before a request is sent again that was overtaken. That is rare; a server that always says so is not to
/// be asked without pause.
const OVERTAKEN_PAUSE: Duration = Duration::from_millis(5);

/// For how long the one attempt may take of somebody who does not wait.
const TRY_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a withdrawal is waited for. It goes on in the background.
const WITHDRAWAL: Duration = Duration::from_millis(250);
