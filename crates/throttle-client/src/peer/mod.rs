//! Peers and locks that keep themselves alive.
//!
//! [`Lease`] decides, and this module performs. A [`Peer`] has a task in the background, its
//! [keeper], which shows signs of life as long as anybody has the peer or one of its locks, tells a
//! server that forgot it what it holds, and tells everybody who holds a lock when it is lost. Who
//! [asks](request) for a lock does so from a task of its own.
//!
//! What is sent is sent in an order in which no request overtakes another one that it must not overtake, as
//! far as the server has answered:
//!
//! - One request for a lock at a time, and none for a semaphore while it is being given back:
//!   [`Shared::turn`], [`Shared::giving_back`].
//! - Nothing is given back while the server is told what is held: [`Shared::upkeep`].
//! - The keeper has ended when the peer is removed.

mod builder;
mod keeper;
mod lock;
mod request;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, panic,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use throttle_wire::{Code, Labels, PeerId, Restore};
use tokio::{
    runtime,
    sync::{Notify, OwnedMutexGuard, watch},
    task::{JoinError, JoinHandle},
};
use tracing::{debug, info, warn};

pub use self::{builder::PeerBuilder, lock::Lock, request::LockRequest};
use crate::{
    Admission, Client, Error, Lost,
    lease::{Lease, Step},
    world::{self, Clock, Time},
};

/// A session with a server, that keeps itself and its locks alive.
///
/// Made by [`Client::session`] or, with a lease and labels of its own, by [`Peer::builder`]. The server
/// hears of it when the first lock is asked for. Clones are the same peer. When the last of them and
/// of its locks is dropped, the peer is removed from the server in the background; whoever wants to
/// wait for that calls [`Peer::close`].
///
/// Locks of one peer are *nested*: each further one must be of a lower level than all those it holds,
/// and it waits for one at a time. Workers that are independent of each other have a peer each.
#[derive(Clone)]
pub struct Peer {
    owner: Arc<Owner>,
}

/// Ends the session when nobody is left who could use it.
struct Owner(Arc<Shared>);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The peer has this semaphore already. A lock is one guard, and cannot be had twice.
    #[error("the peer holds this semaphore already")]
    AlreadyHeld,
    /// The server refused, or could not be reached for so long that the lease would have ended.
    #[error(transparent)]
    Failed(#[from] Error),
    /// The server did not answer at all within the time that was given.
    #[error("no answer in time")]
    NoAnswer,
    /// The lock, or the place in the queue, is lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// It was not free within the time that was given. Nothing is left behind at the server.
    #[error("not acquired in time")]
    NotInTime,
}

impl LockError {
    /// The code, if the server refused.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Failed(error) => error.code(),
            Self::Lost(Lost::Refused(code)) => Some(*code),
            _ => None,
        }
    }
}

/// What is common to a peer, its locks and its keeper.
struct Shared {
    /// Repeats requests.
    client: Client,
    /// Sends requests once; the lease decides what to do next.
    swift: Client,
    labels: Labels,
    clock: Clock,
    runtime: runtime::Handle,
    state: Mutex<State>,
    /// Wakes the keeper when the lease has changed.
    changed: Notify,
    /// What happens to the peer at the server when nobody has it any more here.
    end: End,
    /// Says when the peer is given up here.
    closing: watch::Sender<Option<End>>,
    /// Turns true when that is done.
    closed: watch::Sender<bool>,
    /// Held while the server is told of the peer, and while a lock leaves the list of those it has.
    upkeep: Arc<tokio::sync::Mutex<()>>,
    /// Held while a lock is asked for, until it is certain that nothing is pending any more.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Semaphores that are on the way back to the server.
    giving_back: watch::Sender<BTreeSet<String>>,
}

/// What becomes of a peer at the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Leave,
    Remove,
}

struct State {
    lease: Lease,
    /// Tells the locks of this life of the peer how it ended.
    fate: watch::Sender<Option<Lost>>,
    has_keeper: bool,
    /// On which of several ways the server last confirmed the peer, if that is known. Another one may
    /// lead to another server, which can know nothing of it.
    way: Option<usize>,
}

impl Client {
    /// A peer that keeps itself and its locks alive, with a lease of a minute.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers and I/O.
    #[must_use]
    pub fn session(&self) -> Peer {
        Peer::builder(self).build()
    }
}

impl Peer {
    /// A peer that differs from the default.
    pub fn builder(client: &Client) -> PeerBuilder {
        PeerBuilder::new(client)
    }

    /// Asks for a lock when it is awaited: by default for a count of one, for as long as it takes.
    ///
    /// See [`LockRequest`] for what else can be asked for, and what can go wrong.
    pub fn lock<'a>(&'a self, semaphore: &'a str) -> LockRequest<'a> {
        LockRequest::new(self, semaphore)
    }

    /// The id under which the server knows the peer, if there is one at present.
    pub fn id(&self) -> Option<PeerId> {
        self.shared().state().lease.peer().map(|(peer, _)| peer)
    }

    /// The length of the lease.
    pub fn lease(&self) -> Duration {
        self.shared().state().lease.length()
    }

    /// Removes the peer from the server with all that it holds, and returns when that is done.
    ///
    /// Locks that are still held are lost with [`Lost::Closed`]. If the server cannot be reached, it
    /// returns when the lease is over at the latest.
    pub async fn close(self) {
        self.shared().close(End::Remove).await;
    }

    /// Ends the signs of life, and returns when none is on its way any more. At the server the peer
    /// stays until its lease ends; for its locks here it is as if it was [closed](Self::close).
    pub async fn leave(self) {
        self.shared().close(End::Leave).await;
    }

    /// Returns when the peer is lost with all that it holds, and why; never while it is there, or before
    /// it was there for the first time. To wait for it does not keep the peer alive.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let mut fate = self.shared().state().fate.subscribe();
        async move {
            let lost = fate.wait_for(Option::is_some).await.ok().and_then(|lost| *lost);
            lost.unwrap_or(Lost::Closed)
        }
    }

    /// For how long the peer is certain even if no further sign of life gets through. Zero if there is
    /// none, or if it is lost.
    pub fn time_left(&self) -> Duration {
        let shared = self.shared();
        let state = shared.state();
        let deadline = state.lease.peer().and_then(|(peer, _)| state.lease.deadline(peer));
        deadline.map_or(Duration::ZERO, |deadline| deadline.since(shared.now()))
    }

    /// Says what a peer that was [adopted](PeerBuilder::adopt) holds now.
    ///
    /// Returns when the server is not just being told something else.
    pub async fn holds_now(&self, held: BTreeMap<String, u64>) {
        let shared = self.shared();
        let _upkeep = shared.upkeep.lock().await;
        let mut state = shared.state();
        if let Some((peer, _)) = state.lease.peer() {
            state.lease.holds_now(peer, held);
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.begin_to_close(self.0.end);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while it decides")
    }

    fn holds(&self, semaphore: &str) -> bool {
        let state = self.state();
        state.lease.peer().is_some_and(|(peer, _)| state.lease.holds(peer, semaphore))
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    /// Lets the keeper give up the peer. Nothing can be locked any more.
    fn begin_to_close(&self, end: End) {
        self.closing.send_if_modified(|closing| {
            let is_first = closing.is_none();
            closing.get_or_insert(end);
            is_first
        });
    }

    async fn close(&self, end: End) {
        self.begin_to_close(end);
        // Behind this nobody opens a peer any more.
        drop(self.upkeep.lock().await);
        if self.state().has_keeper {
            // The sender is in here.
            let _ = self.closed.subscribe().wait_for(|&closed| closed).await;
        }
    }

    /// The peer, after making sure that the server knows it.
    async fn known_peer(self: &Arc<Self>) -> Result<PeerId, LockError> {
        loop {
            let upkeep = Arc::clone(&self.upkeep).lock_owned().await;
            if self.closing.borrow().is_some() {
                return Err(LockError::Lost(Lost::Closed));
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
        let (sent, way) = (self.now(), self.client.way());
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
    async fn restore(&self, peer: PeerId, locks: BTreeMap<String, u64>, timeout: Duration) {
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

    async fn heartbeat(&self, peer: PeerId, timeout: Duration) {
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
        let (sent, way) = (self.now(), self.swift.way());
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
                    self.swift.leave(way);
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
    fn renewed(&self, state: &mut State, peer: PeerId, (sent, way): (Time, usize)) {
        state.lease.renewed(peer, sent, self.now(), world::jitter());
        state.way = self.unchanged(way);
        debug!(target: TARGET, peer, "the lease began anew");
    }

    /// The server said that it does not know the peer. Returns why everything is lost, if it is.
    fn unknown_peer(
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
        (self.client.way() == way).then_some(way)
    }

    /// What to do now. If that is to say that everything is lost, it is said here.
    fn next_step(&self, state: &mut State) -> Step {
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

    /// Gives a lock back, or withdraws from a queue, in the background and until it is certain that
    /// the server has nothing of it any more.
    ///
    /// `asking` is a request for it that is on its way. Nothing else is asked for meanwhile if the `turn`
    /// is here.
    fn give_back(
        self: &Arc<Self>,
        peer: PeerId,
        semaphore: String,
        asking: Option<Asking>,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> JoinHandle<()> {
        let returning = Returning::begin(self, semaphore);
        self.runtime.spawn(async move {
            let Returning { shared, semaphore } = &returning;
            // A server that is just told what the peer holds must not hear of this before.
            let upkeep = shared.upkeep.lock().await;
            shared.state().lease.released(peer, semaphore);
            drop(upkeep);
            shared.tell_released(peer, semaphore).await;
            if let Some(asking) = asking {
                shared.outlast(peer, semaphore, asking).await;
            }
            drop((returning, turn));
        })
    }

    /// Goes on to withdraw until a request that is on its way has been answered. It may arrive behind the
    /// withdrawal, and be granted what nobody wants any more.
    async fn outlast(&self, peer: PeerId, semaphore: &str, mut asking: Asking) {
        loop {
            let answered = tokio::select! {
                biased;
                _ = &mut asking => true,
                () = self.clock.sleep_until(self.now() + WITHDRAWAL_PAUSE) => false,
            };
            self.tell_released(peer, semaphore).await;
            if answered || self.state().lease.deadline(peer).is_none() {
                return;
            }
        }
    }

    /// Repeats that a lock is released until the server has heard it, or forgets all of it anyway.
    async fn tell_released(&self, peer: PeerId, semaphore: &str) {
        loop {
            let deadline = {
                let mut state = self.state();
                // If it is over by now, that has to be said before anything is asked.
                self.next_step(&mut state);
                state.lease.deadline(peer)
            };
            let Some(deadline) = deadline else { return };
            tokio::select! {
                biased;
                answer = self.client.release(peer, semaphore) => match answer {
                    Ok(()) => return debug!(target: TARGET, peer, semaphore, "released"),
                    Err(error) if error.is_refusal() => {
                        return debug!(target: TARGET, peer, semaphore, %error, "nothing to release");
                    }
                    Err(error) => {
                        warn!(target: TARGET, peer, semaphore, %error, "cannot release, trying again");
                        self.clock.sleep_until(self.now() + RELEASE_PAUSE).await;
                    }
                },
                // It may have moved meanwhile.
                () = self.clock.sleep_until(deadline) => {}
            }
        }
    }
}

/// A semaphore on the way back to the server, until this is dropped, be it because the runtime ends.
struct Returning {
    shared: Arc<Shared>,
    semaphore: String,
}

impl Returning {
    fn begin(shared: &Arc<Shared>, semaphore: String) -> Self {
        shared.giving_back.send_modify(|names| {
            names.insert(semaphore.clone());
        });
        Self { shared: Arc::clone(shared), semaphore }
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        self.shared.giving_back.send_modify(|names| {
            names.remove(&self.semaphore);
        });
    }
}

/// What came of a task. It panics as the task did; one that ended with its runtime has lost everything.
fn outcome<T>(ended: Result<T, JoinError>) -> Result<T, Lost> {
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(_) => Lost::Closed,
    })
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// A request for a lock that goes on when nobody waits for it any more.
type Asking = JoinHandle<Result<Admission, Error>>;

/// How long to give the keeper to restore the peer.
const RESTORE_PAUSE: Duration = Duration::from_millis(10);

/// Between two withdrawals of a request that is not answered yet.
const WITHDRAWAL_PAUSE: Duration = Duration::from_millis(100);

/// Between two attempts to release, after the client itself has made several.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);

/// Of all events.
const TARGET: &str = "throttle::client";
