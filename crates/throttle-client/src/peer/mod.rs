//! Peers and locks that keep themselves alive.
//!
//! [`Lease`] decides, and this module performs. A [`Peer`] has a task in the background, its
//! [keeper], which shows signs of life as long as anybody has the peer or one of its locks, tells a
//! server that forgot it what it holds, and tells everybody who holds a lock when it is lost
//! ([upkeep]). Who [asks](request) for a lock, or [gives it back](giving_back), does so from a task of
//! its own.
//!
//! What is sent is sent in an order in which no request overtakes another one that it must not overtake, as
//! far as the server has answered:
//!
//! - One request for a lock at a time, and none for a semaphore while it is being given back:
//!   [`Shared::turn`], [`Shared::giving_back`].
//! - Nothing is given back while the server is told what is held: [`Shared::upkeep`].
//! - The keeper has ended when the peer is removed.
//!
//! What it has not answered, and then gets late all the same, it refuses for its [number](crate::order).

mod builder;
mod error;
mod giving_back;
mod keeper;
mod lock;
mod request;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
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
/// Made by [`Peer::new`] or, with a lease and labels of its own, by [`Peer::builder`]. The server
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

/// Ends the peer when nobody is left who could use it.
struct Owner(Arc<Shared>);

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

    fn subject(&self, semaphore: &str) -> Subject {
        let semaphore = semaphore.to_owned();
        Subject { semaphore, server: self.client.server() }
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

/// Between two attempts to tell the server that something is over, after the client itself has made
/// several.
const FAREWELL_PAUSE: Duration = Duration::from_secs(1);

/// Of all events.
const TARGET: &str = "throttle::client";
