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

/// What is common to a peer, its locks and its background task.
pub(super) struct PeerInner {
    /// Repeats requests.
    pub(super) client: Client,
    /// Sends requests once; the lease, or who asks for a lock, decides what to do next.
    pub(super) single_attempt: Client,
    /// Where the server is, for people.
    pub(super) server: Arc<str>,
    pub(super) labels: Labels,
    pub(super) default_labels: Labels,
    pub(super) clock: Clock,
    pub(super) runtime: runtime::Handle,
    pub(super) state: Mutex<PeerState>,
    /// Wakes the background task when the lease has changed.
    pub(super) lease_changed: Notify,
    /// When the latest request was sent that the server confirmed the peer with.
    pub(super) confirmed: watch::Sender<Option<Time>>,
    /// Says when the peer is given up here.
    pub(super) closing: watch::Sender<Option<CloseMode>>,
    /// Turns true when that is done.
    pub(super) closed: watch::Sender<bool>,
    /// Held while the server is told of the peer, and while a lock leaves the list of those it has.
    pub(super) server_sync: Arc<tokio::sync::Mutex<()>>,
    /// Held while a lock is asked for, until it is certain that nothing is pending any more.
    pub(super) acquiring: Arc<tokio::sync::Mutex<()>>,
    /// Semaphores that are being given back to the server.
    pub(super) releasing: watch::Sender<BTreeSet<String>>,
}

/// What becomes of a peer at the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CloseMode {
    StopHeartbeat,
    Remove,
}

pub(super) struct PeerState {
    pub(super) lease: Lease,
    /// Tells the locks of this life of the peer how it ended.
    pub(super) loss: watch::Sender<Option<Lost>>,
    pub(super) has_heartbeat_task: bool,
    /// A peer that was given up here, and of whose removal the server has not heard yet.
    pub(super) to_remove: Option<PeerId>,
    /// Whether the server took no labels beyond those that somebody asked for.
    pub(super) default_labels_refused: bool,
    /// For how long a request for a lock waits at most.
    pub(super) longest_block_for: Duration,
    /// Which of several URLs led to the server when it last confirmed the peer, if that is known. Another one
    /// may lead to another server, which can know nothing of it.
    pub(super) url: Option<usize>,
}

impl PeerInner {
    pub(super) fn state(&self) -> MutexGuard<'_, PeerState> {
        self.state.lock().expect("nobody panics while it decides")
    }

    pub(super) fn holds(&self, semaphore: &str) -> bool {
        self.next_step();
        let state = self.state();
        state.lease.peer().is_some_and(|(peer, _)| state.lease.holds(peer, semaphore))
    }

    pub(super) fn error_context(&self, semaphore: &str) -> ErrorContext {
        ErrorContext { semaphore: semaphore.to_owned(), server: Arc::clone(&self.server) }
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Lets the background task give up the peer. Nothing can be locked any more.
    pub(super) fn begin_to_close(&self, end: CloseMode) {
        self.closing.send_if_modified(|closing| {
            let is_first = closing.is_none();
            closing.get_or_insert(end);
            is_first
        });
    }

    /// Gives up the peer, and waits for that as long as a farewell may take.
    pub(super) async fn close(&self, end: CloseMode) {
        self.begin_to_close(end);
        let closed = async {
            // Behind this nobody opens a peer any more.
            drop(self.server_sync.lock().await);
            if self.state().has_heartbeat_task {
                // The sender is in here.
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

/// What came of a task. It panics as the task did; one that ended with its runtime has lost everything.
pub(super) fn task_result<T>(ended: Result<T, JoinError>) -> Result<T, Lost> {
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(_) => Lost::Closed,
    })
}

/// A request for a lock that goes on when nobody waits for it any more.
pub(super) type AcquireTask = JoinHandle<Result<Admission, Error>>;

/// How long somebody waits for the server to hear of the end of a peer.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two attempts to tell the server that something is over, after the client itself has made
/// several.
pub(super) const RELEASE_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long a request for a lock waits, if the server lets it. Then it is sent again, so that a connection that
/// broke without a word is noticed.
pub(super) const LONGEST_BLOCK_FOR: Duration = Duration::from_secs(20);

/// Of all events.
pub(super) const TARGET: &str = "throttle::client";
