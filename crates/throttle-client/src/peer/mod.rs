//! Peers and locks that keep themselves alive.
//!
//! [`Lease`] decides, and this module performs. A [`Peer`] has a task in the [background], which shows signs
//! of life as long as anybody has the peer or one of its locks, tells a server that forgot it what it holds
//! ([contact]), and tells everybody who holds a lock when it is lost. Who asks for a lock ([request],
//! [acquire]), or [gives it back](release), does so from a task of its own. The [farewell] is what happens if
//! the runtime ends before the peer is removed.
//!
//! What is sent is sent in an order in which no request overtakes another one that it must not overtake, as
//! far as the server has answered:
//!
//! - One request for a lock at a time, and none while anything is being given back:
//!   [`Shared::acquiring`], [`Shared::releasing`].
//! - Nothing is given back while the server is told what is held: [`Shared::telling`].
//! - The background task sends nothing any more when the peer is removed.
//!
//! What the server has not answered, and then gets late all the same, it refuses for its
//! [number](crate::order).

mod acquire;
mod background;
mod builder;
mod contact;
mod error;
mod farewell;
mod lock;
mod patience;
mod place;
mod release;
mod request;

use std::{
    collections::BTreeSet,
    fmt, panic,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use throttle_wire::{Labels, PeerId};
use tokio::{
    runtime,
    sync::{Notify, watch},
    task::{JoinError, JoinHandle},
};

use self::error::Subject;
pub use self::{builder::PeerBuilder, error::LockError, lock::Lock, request::LockRequest};
use crate::{
    Admission, Client, Error, Lost,
    lease::Lease,
    world::{Clock, Time},
};

/// A client of the server that holds locks, and keeps itself and them alive.
///
/// Made by [`Peer::new`] or, with a lease and labels of its own, by [`Peer::builder`]. The server hears of it
/// when the first lock is asked for, so a peer that was never used leaves nothing there. Clones are the same
/// peer. When the last of them and of its locks is dropped, the peer is removed from the server in the
/// background; whoever wants to wait for that calls [`Peer::close`]. A runtime that ends right after the drop
/// waits for the removal, but no longer than a second for all peers of the program together.
///
/// Locks of one peer are *nested*: each further one must be of a lower level than all those it holds,
/// and it waits for one at a time. Workers that are independent of each other have a peer each.
#[derive(Clone)]
pub struct Peer {
    owner: Arc<Owner>,
}

/// Ends the peer when nobody is left who could use it.
struct Owner(Arc<Shared>);

/// What is common to a peer, its locks and its background task.
struct Shared {
    /// Repeats requests.
    client: Client,
    /// Sends requests once; the lease, or who asks for a lock, decides what to do next.
    single_attempt: Client,
    /// Where the server is, for people.
    server: Arc<str>,
    labels: Labels,
    default_labels: Labels,
    clock: Clock,
    runtime: runtime::Handle,
    state: Mutex<State>,
    /// Wakes the background task when the lease has changed.
    changed: Notify,
    /// When the latest request was sent that the server confirmed the peer with.
    confirmed: watch::Sender<Option<Time>>,
    /// Says when the peer is given up here.
    closing: watch::Sender<Option<End>>,
    /// Turns true when that is done.
    closed: watch::Sender<bool>,
    /// Held while the server is told of the peer, and while a lock leaves the list of those it has.
    telling: Arc<tokio::sync::Mutex<()>>,
    /// Held while a lock is asked for, until it is certain that nothing is pending any more.
    acquiring: Arc<tokio::sync::Mutex<()>>,
    /// Semaphores that are being given back to the server.
    releasing: watch::Sender<BTreeSet<String>>,
}

/// What becomes of a peer at the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    StopHeartbeat,
    Remove,
}

struct State {
    lease: Lease,
    /// Tells the locks of this life of the peer how it ended.
    loss: watch::Sender<Option<Lost>>,
    has_background: bool,
    /// A peer that was given up here, and of whose removal the server has not heard yet.
    to_remove: Option<PeerId>,
    /// Whether the server took no labels beyond those that somebody asked for.
    refuses_default_labels: bool,
    /// For how long a request for a lock waits at most.
    longest_poll: Duration,
    /// Which of several URLs led to the server when it last confirmed the peer, if that is known. Another one
    /// may lead to another server, which can know nothing of it.
    url: Option<usize>,
}

impl Client {
    /// Asks for a lock by a peer of its own, which keeps the lock alive and is removed together with it.
    ///
    /// It costs four requests from the new peer to its removal. Whoever takes many locks one after another
    /// uses a [`Peer`], where each costs two; who wants another lease than a minute, or labels, builds one.
    pub fn lock(&self, semaphore: impl Into<String>) -> LockRequest {
        LockRequest::of_own_peer(Peer::builder(self), semaphore.into())
    }
}

impl Peer {
    /// A peer with a lease of a minute and no labels.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers and I/O.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self::builder(client).build()
    }

    /// A peer that differs from the default.
    pub fn builder(client: &Client) -> PeerBuilder {
        PeerBuilder::new(client)
    }

    /// Asks for a lock when it is awaited: by default for a count of one, for as long as it takes.
    ///
    /// See [`LockRequest`] for what else can be asked for, and what can go wrong.
    pub fn lock(&self, semaphore: impl Into<String>) -> LockRequest {
        LockRequest::of_peer(self.clone(), semaphore.into())
    }

    /// The id under which the server knows the peer, if there is one at present.
    pub fn id(&self) -> Option<PeerId> {
        self.shared().state().lease.peer().map(|(peer, _)| peer)
    }

    /// The length of the lease.
    pub fn lease(&self) -> Duration {
        self.shared().state().lease.length()
    }

    /// Sends a heartbeat now, and returns when the server has confirmed the peer. A server that forgot it is
    /// told what it holds. Nothing is sent if there is no peer at the server.
    ///
    /// This is for a peer that shows [none by itself](PeerBuilder::heartbeat). It is repeated until the lease
    /// ends.
    ///
    /// # Errors
    ///
    /// Why the peer is lost, if it is.
    pub async fn renew(&self) -> Result<(), Lost> {
        let shared = self.shared();
        let (mut confirmed, asked) = (shared.confirmed.subscribe(), shared.now());
        shared.next_step();
        let mut loss = {
            let mut state = shared.state();
            if state.lease.peer().is_none() {
                return state.loss.borrow().map_or(Ok(()), Err);
            }
            state.lease.wants_sign_of_life(asked);
            state.loss.subscribe()
        };
        shared.changed.notify_one();
        let mut closed = shared.closed.subscribe();
        tokio::select! {
            biased;
            lost = loss.wait_for(Option::is_some) => {
                Err(lost.ok().and_then(|lost| *lost).unwrap_or(Lost::Closed))
            }
            // The sender is in `shared`.
            _ = confirmed.wait_for(|sent| sent.is_some_and(|sent| asked <= sent)) => Ok(()),
            // Its runtime is gone, and with it the background task.
            _ = closed.wait_for(|&closed| closed) => Err(Lost::Closed),
        }
    }

    /// Removes the peer from the server with all that it holds, and returns when that is done, or after two
    /// seconds. Then it goes on in the background until the lease is over.
    ///
    /// Locks that are still held are lost with [`Lost::Closed`].
    pub async fn close(self) {
        self.shared().close(End::Remove).await;
    }

    /// Ends the heartbeats, and returns when none is on its way any more. At the server the peer
    /// stays until its lease ends; for its locks here it is as if it was [closed](Self::close).
    pub async fn stop_heartbeat(self) {
        self.shared().close(End::StopHeartbeat).await;
    }

    /// Returns when the peer is lost with all that it holds, and why; never while it is there, or before
    /// it was there for the first time. To wait for it does not keep the peer alive.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let mut loss = self.shared().state().loss.subscribe();
        let (clock, shared) = (self.shared().clock, Arc::downgrade(self.shared()));
        async move {
            loop {
                let mut next = None;
                if let Some(shared) = shared.upgrade() {
                    shared.next_step();
                    let state = shared.state();
                    next = state.lease.peer().and_then(|(peer, _)| state.lease.deadline(peer));
                }
                let next = next.unwrap_or_else(|| clock.now() + Duration::from_secs(1));
                tokio::select! {
                    biased;
                    lost = loss.wait_for(Option::is_some) => {
                        return lost.ok().and_then(|lost| *lost).unwrap_or(Lost::Closed);
                    }
                    // Also if the background task is not as punctual.
                    () = clock.sleep_until(next) => {}
                }
            }
        }
    }

    /// For how long the peer is certain even if no further heartbeat gets through. Zero if there is
    /// none, if it is lost, or if it was taken over and the server has not confirmed it yet.
    pub fn time_left(&self) -> Duration {
        let shared = self.shared();
        let until = shared.state().lease.certain_until();
        until.map_or(Duration::ZERO, |until| until.since(shared.now()))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }

    /// Whether nobody else can use the peer, nor has a lock of it.
    pub(crate) fn is_sole(&self) -> bool {
        Arc::strong_count(&self.owner) == 1
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.begin_to_close(End::Remove);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while it decides")
    }

    fn holds(&self, semaphore: &str) -> bool {
        self.next_step();
        let state = self.state();
        state.lease.peer().is_some_and(|(peer, _)| state.lease.holds(peer, semaphore))
    }

    fn subject(&self, semaphore: &str) -> Subject {
        Subject { semaphore: semaphore.to_owned(), server: Arc::clone(&self.server) }
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    /// Lets the background task give up the peer. Nothing can be locked any more.
    fn begin_to_close(&self, end: End) {
        self.closing.send_if_modified(|closing| {
            let is_first = closing.is_none();
            closing.get_or_insert(end);
            is_first
        });
    }

    /// Gives up the peer, and waits for that as long as a farewell may take.
    async fn close(&self, end: End) {
        self.begin_to_close(end);
        let closed = async {
            // Behind this nobody opens a peer any more.
            drop(self.telling.lock().await);
            if self.state().has_background {
                // The sender is in here.
                let _ = self.closed.subscribe().wait_for(|&closed| closed).await;
            }
        };
        tokio::select! {
            biased;
            () = closed => {}
            () = self.clock.sleep_until(self.now() + FAREWELL) => {}
        }
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

/// How long somebody waits for the server to hear of the end of a peer.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// Between two attempts to tell the server that something is over, after the client itself has made
/// several.
const FAREWELL_PAUSE: Duration = Duration::from_secs(1);

/// How long a request for a lock waits, if the server lets it. Then it is sent again, so that a connection that
/// broke without a word is noticed.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// Of all events.
const TARGET: &str = "throttle::client";
