//! Peers and locks that keep themselves alive.
//!
//! [`Lease`] decides what to send, and this module sends it. Each [`Peer`] has one [background
//! task](heartbeat_task) that runs as long as the peer or one of its locks exists. The task sends heartbeats,
//! restores the peer at a server that forgot it ([renewal]), and reports the loss to all locks. Requests for
//! a lock ([lock_request], [acquisition]) and [releases](release) run in tasks of their own. If the runtime
//! ends before the peer was removed, [runtime_end] removes it.
//!
//! Requests whose order matters are sent one after the other:
//!
//! - One request for a lock at a time, and none while a release is in progress: [`PeerInner::acquiring`],
//!   [`PeerInner::releasing`].
//! - No release while the peer is being created, restored or inspected: [`PeerInner::server_sync`].
//! - No heartbeat and no restore once the peer is being removed.
//!
//! This cannot order a request that got no answer, because it may still arrive. The server refuses it by its
//! [sequence number](crate::sequence).

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
mod restore;
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
/// Made by [`Peer::new`] or, with a lease and labels of its own, by [`Peer::builder`]. The first request for
/// a lock creates it at the server, so an unused peer leaves nothing there. Clones are the same peer.
/// Dropping the last clone and the last lock removes the peer from the server in the background;
/// [`Peer::close`] waits for that. A runtime that ends right after the drop waits for the removal, but no
/// longer than a second for all peers of the program together.
///
/// Locks of one peer are *nested*: each further lock must be of a lower level than all those it holds, and a
/// peer waits for one lock at a time. Give independent workers a peer each.
#[derive(Clone)]
pub struct Peer {
    owner: Arc<RemoveOnDrop>,
}

/// Removes the peer when its last handle and its last lock are dropped.
struct RemoveOnDrop(Arc<PeerInner>);

impl Client {
    /// Asks for a lock with a new peer, which keeps the lock alive and is removed together with it.
    ///
    /// This costs four requests, from the new peer to its removal. With a [`Peer`] each lock costs two, so
    /// use one to take many locks one after another, and also for labels or a lease other than a minute.
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

    /// Builds a peer with settings that differ from the default.
    pub fn builder(client: &Client) -> PeerBuilder {
        PeerBuilder::new(client)
    }

    /// Asks for a lock when it is awaited: by default for a count of one, without a time limit.
    ///
    /// See [`LockRequest`] for its options and errors.
    pub fn lock(&self, semaphore: impl Into<String>) -> LockRequest {
        LockRequest::for_peer(self.clone(), semaphore.into())
    }

    /// The id under which the server knows the peer, if there is one at present.
    pub fn id(&self) -> Option<PeerId> {
        self.inner().state().lease.peer()
    }

    /// The length of the lease.
    pub fn lease(&self) -> Duration {
        self.inner().state().lease.length()
    }

    /// Sends a heartbeat now, and returns when the server has confirmed the peer. If the server forgot the
    /// peer, the peer is restored. Without a peer at the server nothing is sent.
    ///
    /// Use this for a peer that [sends no heartbeats](PeerBuilder::heartbeat) itself. The heartbeat is
    /// repeated until the lease ends.
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
            // Never an error: `inner` owns the sender.
            _ = confirmed.wait_for(|sent| sent.is_some_and(|sent| asked <= sent)) => Ok(()),
            // The runtime ended, and with it the heartbeat task.
            _ = closed.wait_for(|&closed| closed) => Err(Lost::Closed),
        }
    }

    /// Removes the peer with all that it holds from the server. Returns when that is done, or after two
    /// seconds; then the removal continues in the background until the lease ends.
    ///
    /// Locks that are still held are lost with [`Lost::Closed`].
    pub async fn close(self) {
        self.inner().close(CloseMode::Remove).await;
    }

    /// Ends the heartbeats, and returns when none is in flight any more. The peer stays at the server until
    /// its lease ends; its locks here are lost as if it was [closed](Self::close).
    pub async fn stop_heartbeat(self) {
        self.inner().close(CloseMode::StopHeartbeat).await;
    }

    /// Succeeds while the peer lives, and before it was first created at the server.
    ///
    /// # Errors
    ///
    /// Why it is lost with all that it held.
    pub fn check(&self) -> Result<(), Lost> {
        let inner = self.inner();
        // The heartbeat task may be late.
        inner.next_step();
        let lost = *inner.state().loss.borrow();
        lost.map_or(Ok(()), Err)
    }

    /// Returns when the peer is lost with all that it holds, and why. Never returns before the peer was first
    /// created at the server, or while the peer lives. Waiting for the loss does not keep the peer alive.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let mut loss = self.inner().state().loss.subscribe();
        let (clock, inner) = (self.inner().clock, Arc::downgrade(self.inner()));
        async move {
            loop {
                let mut next = None;
                if let Some(inner) = inner.upgrade() {
                    inner.next_step();
                    let state = inner.state();
                    next = state.lease.peer().and_then(|peer| state.lease.deadline(peer));
                }
                let next = next.unwrap_or_else(|| clock.now() + Duration::from_secs(1));
                tokio::select! {
                    biased;
                    lost = loss.wait_for(Option::is_some) => {
                        return lost.ok().and_then(|lost| *lost).unwrap_or(Lost::Closed);
                    }
                    // The heartbeat task may be late.
                    () = clock.sleep_until(next) => {}
                }
            }
        }
    }

    /// How long the server certainly keeps the peer, even if no further heartbeat arrives. Zero if there is
    /// no peer, if it is lost, or if it was resumed and the server has not confirmed it yet.
    pub fn time_left(&self) -> Duration {
        let inner = self.inner();
        let until = inner.state().lease.certain_until();
        until.map_or(Duration::ZERO, |until| until.since(inner.now()))
    }

    fn inner(&self) -> &Arc<PeerInner> {
        &self.owner.0
    }

    /// Whether there is no other clone of this peer, and no lock of it.
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
