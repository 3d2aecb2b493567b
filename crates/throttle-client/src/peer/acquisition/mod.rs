//! Asking for a lock, until it is there, the time is over or nobody wants it any more.
//!
//! Every request is an attempt of its own. The time of whoever asks is the only limit: attempts that get no
//! answer are repeated until then, after pauses that grow, and the last cause is told.

mod attempt;

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use tokio::sync::OwnedMutexGuard;
use tracing::{debug, warn};

use self::attempt::{Failure, Outcome};
use super::{
    End, LONGEST_POLL, Lock, LockError, Peer, Shared, TARGET,
    backoff::{Complaints, Latest, Pauses},
    lock_error::Subject,
    withdraw::Place,
};
use crate::{Error, clock::Time, jitter::jitter, sequence::Order};

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
            let mut pause = self.pauses.next(jitter());
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
}

/// Whether the next attempt may end otherwise. A server that is broken says so and ends, and another one
/// follows it.
fn is_transient(error: &Error) -> bool {
    let may_recover = matches!(error, Error::Refused { .. }) || error.failure().is_some();
    may_recover && !error.is_refusal()
}

/// For how long the one attempt may take of somebody who does not wait.
const TRY_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a withdrawal is waited for. It goes on in the background.
const WITHDRAWAL: Duration = Duration::from_millis(250);
