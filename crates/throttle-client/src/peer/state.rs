//! What a peer, its locks and its heartbeat task share.

use std::{
    collections::BTreeSet,
    panic,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use throttle_wire::{Labels, PeerId};
use tokio::{
    runtime,
    sync::{Notify, watch},
    task::{JoinError, JoinHandle},
};

use super::lock_error::ErrorContext;
use crate::{
    Admission, Client, Error, Lost,
    clock::{Clock, Time},
    lease::Lease,
};

/// What a peer, its locks and its heartbeat task share.
pub(super) struct PeerInner {
    /// Repeats failed requests.
    pub(super) client: Client,
    /// Sends each request once; the lease or the acquisition decides whether to send it again.
    pub(super) single_attempt: Client,
    /// The URLs of the server, for logs and errors.
    pub(super) server: Arc<str>,
    pub(super) labels: Labels,
    pub(super) default_labels: Labels,
    pub(super) clock: Clock,
    pub(super) runtime: runtime::Handle,
    pub(super) state: Mutex<PeerState>,
    /// Wakes the heartbeat task.
    pub(super) lease_changed: Notify,
    /// When the latest request was sent by which the server confirmed the peer.
    pub(super) confirmed: watch::Sender<Option<Time>>,
    /// Set when the peer is to be closed. No lock can be requested from then on.
    pub(super) closing: watch::Sender<Option<CloseMode>>,
    /// Becomes true when the heartbeat task has ended.
    pub(super) closed: watch::Sender<bool>,
    /// Held while the peer is created, restored or inspected at the server, and while a lock leaves the list
    /// of held ones.
    pub(super) server_sync: Arc<tokio::sync::Mutex<()>>,
    /// Held while a lock is requested, until it is certain that none is pending at the server.
    pub(super) acquiring: Arc<tokio::sync::Mutex<()>>,
    /// Semaphores whose release the server has not confirmed yet.
    pub(super) releasing: watch::Sender<BTreeSet<String>>,
}

/// What happens to the peer at the server when it is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CloseMode {
    StopHeartbeat,
    Remove,
}

pub(super) struct PeerState {
    pub(super) lease: Lease,
    /// Reports the loss to all locks. Replaced when the peer is created again after a loss.
    pub(super) loss: watch::Sender<Option<Lost>>,
    pub(super) has_heartbeat_task: bool,
    /// A closed peer that the server has not removed yet.
    pub(super) to_remove: Option<PeerId>,
    /// Whether the server refused the default labels.
    pub(super) default_labels_refused: bool,
    /// The longest `block_for` to send; halved when the server refuses it.
    pub(super) longest_block_for: Duration,
    /// The index of the URL by which the server last confirmed the peer; `None` if a failover happened during
    /// that request. Another URL may lead to another server, whose memory tells nothing about this peer.
    pub(super) confirmed_url_index: Option<usize>,
}

impl PeerInner {
    pub(super) fn state(&self) -> MutexGuard<'_, PeerState> {
        self.state.lock().expect("nothing panics while the state is locked")
    }

    pub(super) fn holds(&self, semaphore: &str) -> bool {
        self.next_step();
        let state = self.state();
        state.lease.peer().is_some_and(|peer| state.lease.holds(peer, semaphore))
    }

    pub(super) fn error_context(&self, semaphore: &str) -> ErrorContext {
        ErrorContext { semaphore: semaphore.to_owned(), server: Arc::clone(&self.server) }
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Makes the heartbeat task close the peer. Only the first mode counts.
    pub(super) fn begin_to_close(&self, mode: CloseMode) {
        self.closing.send_if_modified(|closing| {
            let is_first = closing.is_none();
            closing.get_or_insert(mode);
            is_first
        });
    }

    /// Closes the peer, and waits for that at most [`CLOSE_TIMEOUT`].
    pub(super) async fn close(&self, mode: CloseMode) {
        self.begin_to_close(mode);
        let closed = async {
            // No peer is created after this, because `closing` is set.
            drop(self.server_sync.lock().await);
            if self.state().has_heartbeat_task {
                // Never an error: `self` owns the sender.
                let _ = self.closed.subscribe().wait_for(|&closed| closed).await;
            }
        };
        tokio::select! {
            biased;
            () = closed => {}
            () = self.clock.sleep_until(self.now() + CLOSE_TIMEOUT) => {}
        }
    }
}

/// The result of a task: resumes its panic, and reports a task that ended with its runtime as
/// [`Lost::Closed`].
pub(super) fn task_result<T>(ended: Result<T, JoinError>) -> Result<T, Lost> {
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(_) => Lost::Closed,
    })
}

/// A request for a lock. It is a task so that it continues when its caller stops waiting.
pub(super) type AcquireTask = JoinHandle<Result<Admission, Error>>;

/// How long closing a peer waits for the server.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two attempts to release a lock or remove a peer. Each attempt already includes the
/// retries of the client.
pub(super) const RELEASE_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest `block_for` of one request for a lock. The request is then sent again, which notices
/// connections that broke silently.
pub(super) const LONGEST_BLOCK_FOR: Duration = Duration::from_secs(20);

/// The target of all events of this module.
pub(super) const TARGET: &str = "throttle::client";
