//! Asking for a lock, until it is there or nobody wants it any more.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use throttle_wire::{Code, PeerId};
use tokio::{
    sync::{OwnedMutexGuard, watch},
    task::JoinHandle,
};
use tracing::{Instrument as _, debug, debug_span};

use super::{Asking, Lock, LockError, Peer, PeerBuilder, Shared, TARGET, outcome};
use crate::{Admission, Error, Lost, order::Order, world::Time};

/// Asks for a lock when it is awaited. Made by [`Client::lock`](crate::Client::lock) and
/// [`Peer::lock`].
///
/// While it waits it has a place in the queue of the server, which is first come, first served. If it
/// is dropped, or its time is over, the place is given up, in the background if need be; the lock is
/// not granted behind anybody's back.
///
/// A server that is started again is asked again. One that stays away is given up when the lease is
/// over.
///
/// # Errors
///
/// - [`LockError::NotInTime`]
/// - [`LockError::AlreadyHeld`]
/// - [`LockError::Failed`] as told for [`Client::acquire`](crate::Client::acquire)
/// - [`LockError::Lost`] if the peer was removed at the server while it waited
#[derive(Clone, Debug)]
#[must_use = "nothing is asked for until it is awaited"]
pub struct LockRequest {
    asker: Asker,
    semaphore: String,
    count: u64,
    patience: Option<Duration>,
}

/// Who asks.
#[derive(Clone, Debug)]
enum Asker {
    Peer(Peer),
    /// A peer that is there only for this lock.
    Own(PeerBuilder),
}

impl LockRequest {
    pub(super) fn of_peer(peer: Peer, semaphore: String) -> Self {
        Self { asker: Asker::Peer(peer), semaphore, count: 1, patience: None }
    }

    pub(super) fn of_own_peer(peer: PeerBuilder, semaphore: String) -> Self {
        Self { asker: Asker::Own(peer), semaphore, count: 1, patience: None }
    }

    /// How much to ask for. Default: 1.
    pub fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Gives up after this time. An answer that is on its way then is waited for a second longer.
    pub fn wait_at_most(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The lock, if it is free at this moment.
    ///
    /// # Errors
    ///
    /// As told for [`LockRequest`], but [`LockError::NotInTime`].
    pub async fn try_lock(self) -> Result<Option<Lock>, LockError> {
        match self.wait_at_most(Duration::ZERO).await {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::NotInTime { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(self) -> Result<Lock, LockError> {
        let Self { asker, semaphore, count, patience } = self;
        let peer = match asker {
            Asker::Peer(peer) => peer,
            Asker::Own(builder) => builder.build(),
        };
        Attempt { peer, semaphore, count, patience }.send().await
    }
}

/// A request for a lock that is under way.
struct Attempt {
    peer: Peer,
    semaphore: String,
    count: u64,
    patience: Option<Duration>,
}

impl Attempt {
    async fn send(self) -> Result<Lock, LockError> {
        let shared = self.peer.shared();
        let subject = shared.subject(&self.semaphore);
        // A name that nobody can ask for is refused before anything is begun.
        if let Err(error) = shared.client.base().join_name("", &self.semaphore) {
            return Err(subject.failed(error));
        }
        let is_answered = AtomicBool::new(false);
        let Some(patience) = self.patience else { return self.ask(None, &is_answered).await };
        let until = shared.now() + patience;
        tokio::select! {
            biased;
            lock = self.ask(Some(until), &is_answered) => lock,
            () = shared.clock.sleep_until(until + GRACE) => {
                let is_answered = is_answered.load(Ordering::Relaxed);
                Err(if is_answered {
                    subject.not_in_time(patience)
                } else {
                    let silence = shared.client.single_attempt(Duration::ZERO).health().await;
                    subject.unreachable(silence.expect_err("no answer comes within no time"))
                })
            }
        }
    }

    async fn ask(&self, until: Option<Time>, is_answered: &AtomicBool) -> Result<Lock, LockError> {
        let shared = self.peer.shared();
        let subject = || shared.subject(&self.semaphore);
        let turn = match until {
            None => self.turn().await?,
            Some(until) => tokio::select! {
                biased;
                turn = self.turn() => turn?,
                () = shared.clock.sleep_until(until) => {
                    return Err(subject().not_in_time(self.patience.unwrap_or_default()));
                }
            },
        };
        let (outer, is_nested) = {
            let state = shared.state();
            (state.fate.subscribe(), state.lease.holds_anything())
        };
        let mut place = Place {
            shared,
            semaphore: &self.semaphore,
            peer: None,
            order: Order::Keep,
            asking: None,
            turn: Some(turn),
        };
        loop {
            let peer = shared.known_peer().await.map_err(|it| subject().hindered(it))?;
            is_answered.store(true, Ordering::Relaxed);
            let lost = *outer.borrow();
            if let Some(lost) = lost.filter(|_| is_nested) {
                // A lock within others that are gone is not what was asked for.
                return Err(subject().lost(lost));
            }
            place.peer = Some(peer);
            match self.ask_once(peer, until, &mut place).await {
                Ok(Some(lock)) => {
                    place.peer = None;
                    return Ok(lock);
                }
                Ok(None) => {}
                Err(error) => {
                    // Whatever was refused is not pending, and whatever else failed may be.
                    match &error {
                        LockError::Failed { source, .. } if source.is_refusal() => {
                            place.peer = None
                        }
                        LockError::Lost { .. } => place.peer = None,
                        _ => place.leave().await,
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Waits until nobody else asks for a lock of this peer, and what it held of this semaphore is
    /// given back.
    async fn turn(&self) -> Result<OwnedMutexGuard<()>, LockError> {
        let shared = self.peer.shared();
        let turn = Arc::clone(&shared.turn).lock_owned().await;
        loop {
            // Looked at before: as long as the turn is here, there can only be less afterwards. So if
            // it was not held, what is on its way back now is all there is.
            let was_held = shared.holds(&self.semaphore);
            let mut giving_back = shared.giving_back.subscribe();
            // The sender is in `shared`, so there is always an answer.
            let _ = giving_back.wait_for(|names| !names.contains(&self.semaphore)).await;
            if !was_held {
                return Ok(turn);
            }
            if shared.holds(&self.semaphore) {
                return Err(shared.subject(&self.semaphore).already_held());
            }
        }
    }

    /// Asks the server. `None` if it has to be asked again.
    async fn ask_once(
        &self,
        peer: PeerId,
        until: Option<Time>,
        place: &mut Place<'_>,
    ) -> Result<Option<Lock>, LockError> {
        let shared = self.peer.shared();
        let (sent, way) = (shared.now(), shared.client.base_url_index());
        let length = shared.state().lease.length();
        let block_for = until.map_or(LONGEST_POLL, |until| until.since(sent).min(LONGEST_POLL));
        let (client, semaphore, count) =
            (shared.client.clone(), self.semaphore.clone(), self.count);
        let order = place.order;
        // A task of its own: what was sent has to be heard to its end, whoever waits for it.
        let asking = place.asking.insert(shared.runtime.spawn(async move {
            let request = client.acquire(peer, &semaphore, count).expires_in(length);
            // Who asks may have turned away when it turns out that this came late.
            let mut request = request.order(order);
            if !block_for.is_zero() {
                request = request.block_for(block_for);
            }
            request.await
        }));
        let answer = asking.await;
        place.asking = None;
        let answer = outcome(answer).map_err(|lost| shared.subject(&self.semaphore).lost(lost))?;
        let now = shared.now();
        match answer {
            Ok(admission) => {
                let mut state = shared.state();
                shared.renewed(&mut state, peer, (sent, way));
                match admission {
                    Admission::Held { token } => {
                        // Not if the answer took so long that it may be over again.
                        let counts = state.lease.acquired(peer, &self.semaphore, self.count, now);
                        Ok(counts.then(|| self.lock(peer, token, state.fate.subscribe())))
                    }
                    Admission::Pending if until.is_some_and(|until| until <= now) => Err(shared
                        .subject(&self.semaphore)
                        .not_in_time(self.patience.unwrap_or_default())),
                    Admission::Pending => Ok(None),
                }
            }
            Err(Error::Refused { code: Code::UnknownPeer, uptime, .. }) => {
                match shared.unknown_peer(peer, (sent, way), uptime) {
                    // Whoever held nothing has lost nothing but the place in the queue.
                    Some(Lost::Expired) | None => Ok(None),
                    Some(lost) => Err(shared.subject(&self.semaphore).lost(lost)),
                }
            }
            Err(error) if error.is_stale() => {
                // Another request was faster, such as a release of something else.
                if !error.is_to_be_exceeded() {
                    place.order = Order::Ignore;
                }
                shared.clock.sleep_until(now + OVERTAKEN_PAUSE).await;
                Ok(None)
            }
            Err(error) if error.is_refusal() => Err(shared.subject(&self.semaphore).failed(error)),
            Err(error) => {
                let is_alive =
                    shared.state().lease.deadline(peer).is_some_and(|deadline| now < deadline);
                debug!(target: TARGET, peer, %error, is_alive, "no answer about a lock");
                if !is_alive || error.failure().is_none() {
                    return Err(shared.subject(&self.semaphore).failed(error));
                }
                shared.clock.sleep_until(shared.now() + ASKING_PAUSE).await;
                Ok(None)
            }
        }
    }

    fn lock(&self, id: PeerId, token: Option<u64>, fate: watch::Receiver<Option<Lost>>) -> Lock {
        debug!(target: TARGET, peer = id, semaphore = &*self.semaphore, ?token, "held");
        Lock {
            peer: self.peer.clone(),
            id,
            semaphore: self.semaphore.clone(),
            count: self.count,
            token,
            fate,
            is_released: false,
        }
    }
}

impl IntoFuture for LockRequest {
    type Output = Result<Lock, LockError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { semaphore, count, .. } = &self;
        let span = debug_span!(target: TARGET, "lock", semaphore, count);
        Box::pin(self.send().instrument(span))
    }
}

/// A place in the queue of the server, or what may be one.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    semaphore: &'a str,
    /// `None` if there is certainly no place.
    peer: Option<PeerId>,
    /// In which order it is asked for among all requests of the peer.
    order: Order,
    /// A request that is on its way.
    asking: Option<Asking>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Place<'_> {
    /// Gives it up, and returns when the server has heard of it.
    async fn leave(mut self) {
        if let Some(left) = self.give_up() {
            // It ends early only if the runtime does.
            let _ = left.await;
        }
    }

    fn give_up(&mut self) -> Option<JoinHandle<()>> {
        let peer = self.peer.take()?;
        let (asking, turn) = (self.asking.take(), self.turn.take());
        Some(self.shared.give_back(peer, self.semaphore.to_owned(), asking, turn))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}

/// How long one request waits. Then it is sent again, so that a connection that broke without a word
/// is noticed.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// Between two requests of which the first was not answered.
const ASKING_PAUSE: Duration = Duration::from_millis(200);

/// Before a request is sent again that was overtaken. That is rare; a server that always says so is not to
/// be asked without pause.
const OVERTAKEN_PAUSE: Duration = Duration::from_millis(5);

/// How much longer than until the end of its time an answer is waited for.
const GRACE: Duration = Duration::from_secs(1);
