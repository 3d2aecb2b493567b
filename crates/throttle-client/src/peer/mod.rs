//! Peers and locks that keep themselves alive.
//!
//! [`Lease`] decides, and this module performs. A [`Peer`] has a task in the [background](heartbeat_task), which shows signs
//! of life as long as anybody has the peer or one of its locks, tells a server that forgot it what it holds
//! ([renewal]), and tells everybody who holds a lock when it is lost. Who asks for a lock ([lock_request],
//! [acquisition]), or [gives it back](release), does so from a task of its own. The [farewell](runtime_end) is what happens if
//! the runtime ends before the peer is removed.
//!
//! What is sent is sent in an order in which no request overtakes another one that it must not overtake, as
//! far as the server has answered:
//!
//! - One request for a lock at a time, and none while anything is being given back:
//!   [`PeerInner::acquiring`], [`PeerInner::releasing`].
//! - Nothing is given back while the server is told what is held: [`PeerInner::server_sync`].
//! - The background task sends nothing any more when the peer is removed.
//!
//! What the server has not answered, and then gets late all the same, it refuses for its
//! [number](crate::sequence).

mod acquisition;
mod backoff;
mod builder;
mod heartbeat_task;
mod lock;
mod lock_error;
mod lock_request;
mod registration;
mod release;
mod renewal;
mod runtime_end;
mod state;
mod withdraw;

use std::{fmt, sync::Arc, time::Duration};

use throttle_wire::PeerId;

#[cfg(feature = "blocking")]
pub(crate) use self::state::CLOSE_TIMEOUT;
use self::state::{
    AcquireTask, CloseMode, LONGEST_BLOCK_FOR, PeerInner, PeerState, RELEASE_RETRY_PAUSE, TARGET,
    task_result,
};
pub use self::{
    builder::PeerBuilder, lock::Lock, lock_error::LockError, lock_request::LockRequest,
};
#[cfg(doc)]
use crate::lease::Lease;
use crate::{Client, Lost};

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
    owner: Arc<RemoveOnDrop>,
}

/// Ends the peer when nobody is left who could use it.
struct RemoveOnDrop(Arc<PeerInner>);

impl Client {
    /// Asks for a lock by a peer of its own, which keeps the lock alive and is removed together with it.
    ///
    /// It costs four requests from the new peer to its removal. Whoever takes many locks one after another
    /// uses a [`Peer`], where each costs two; who wants another lease than a minute, or labels, builds one.
    pub fn lock(&self, semaphore: impl Into<String>) -> LockRequest {
        LockRequest::for_new_peer(Peer::builder(self), semaphore.into())
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
        LockRequest::for_peer(self.clone(), semaphore.into())
    }

    /// The id under which the server knows the peer, if there is one at present.
    pub fn id(&self) -> Option<PeerId> {
        self.inner().state().lease.peer().map(|(peer, _)| peer)
    }

    /// The length of the lease.
    pub fn lease(&self) -> Duration {
        self.inner().state().lease.length()
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
        let inner = self.inner();
        let (mut confirmed, asked) = (inner.confirmed.subscribe(), inner.now());
        inner.next_step();
        let mut loss = {
            let mut state = inner.state();
            if state.lease.peer().is_none() {
                return state.loss.borrow().map_or(Ok(()), Err);
            }
            state.lease.request_heartbeat(asked);
            state.loss.subscribe()
        };
        inner.lease_changed.notify_one();
        let mut closed = inner.closed.subscribe();
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
        self.inner().close(CloseMode::Remove).await;
    }

    /// Ends the heartbeats, and returns when none is on its way any more. At the server the peer
    /// stays until its lease ends; for its locks here it is as if it was [closed](Self::close).
    pub async fn stop_heartbeat(self) {
        self.inner().close(CloseMode::StopHeartbeat).await;
    }

    /// Returns when the peer is lost with all that it holds, and why; never while it is there, or before
    /// it was there for the first time. To wait for it does not keep the peer alive.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let mut loss = self.inner().state().loss.subscribe();
        let (clock, inner) = (self.inner().clock, Arc::downgrade(self.inner()));
        async move {
            loop {
                let mut next = None;
                if let Some(inner) = inner.upgrade() {
                    inner.next_step();
                    let state = inner.state();
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
        let inner = self.inner();
        let until = inner.state().lease.certain_until();
        until.map_or(Duration::ZERO, |until| until.since(inner.now()))
    }

    fn inner(&self) -> &Arc<PeerInner> {
        &self.owner.0
    }

    /// Whether nobody else can use the peer, nor has a lock of it.
    pub(crate) fn is_last_handle(&self) -> bool {
        Arc::strong_count(&self.owner) == 1
    }
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        self.0.begin_to_close(CloseMode::Remove);
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id()).finish_non_exhaustive()
    }
}
