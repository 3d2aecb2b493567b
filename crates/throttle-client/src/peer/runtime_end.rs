//! Removes peers whose runtime ends before their removal was sent, as at the end of `main`.
//!
//! A dropped peer is removed by its heartbeat task. If the runtime ends first, it drops that task instead.
//! The drop then waits for a thread with its own runtime that removes the peer. All peers of the program
//! share one time limit for this, so a server that does not answer delays the end only once.
//!
//! A peer that is still in use when the runtime ends is not removed: its locks are valid until the lease
//! ends.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use throttle_wire::PeerId;
use tokio::{runtime::Builder, task::JoinSet, time};
use tracing::debug;

use super::{CloseMode, PeerInner, TARGET};
use crate::{Client, clock::RealStopwatch};

/// Removes a peer that should have been removed, if that was not done.
pub(super) fn remove_if_pending(inner: &Arc<PeerInner>) {
    if thread::panicking() || *inner.closing.borrow() != Some(CloseMode::Remove) {
        return;
    }
    // The mutex is poisoned only by a panic. Then the lease removes the peer.
    let Ok(mut state) = inner.state.lock() else { return };
    let closed = state.to_remove.take();
    let Some(peer) = closed.or_else(|| state.lease.close()) else { return };
    drop(state);
    let left = BUDGET.lock().map_or(Duration::ZERO, |mut budget| budget.left());
    if !left.is_zero() {
        remove(inner.client.clone(), peer, left);
    }
}

/// Removes a peer within `left`.
fn remove(client: Client, peer: PeerId, left: Duration) {
    let (done, is_done) = mpsc::channel();
    let work = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        let removed = runtime
            .block_on(async { time::timeout(left, remove_repeatedly(client, peer, left)).await });
        debug!(target: TARGET, peer, is_removed = removed.is_ok(), "the runtime ended");
        // Do not wait for a name lookup in progress.
        runtime.shutdown_background();
        let _ = done.send(());
    };
    // If no thread can be started, the peer remains until its lease ends.
    if thread::Builder::new().name("throttle-farewell".to_owned()).spawn(work).is_ok() {
        let _ = is_done.recv_timeout(left);
    }
}

/// Sends the removal every [`ATTEMPT_INTERVAL`] until one request has been answered.
///
/// Attempts must not wait for each other, because the first ones may use pooled connections that died with
/// the old runtime.
async fn remove_repeatedly(client: Client, peer: PeerId, left: Duration) {
    let client = client.single_attempt(left);
    let mut attempts = JoinSet::new();
    loop {
        let client = client.clone();
        attempts.spawn(async move { client.remove_peer(peer).await.is_ok() });
        tokio::select! {
            Some(Ok(true)) = attempts.join_next() => return,
            () = time::sleep(ATTEMPT_INTERVAL) => {}
        }
    }
}

/// The time that all peers together may take to delay the end of runtimes.
static BUDGET: Mutex<Budget> = Mutex::new(Budget { since: None });

struct Budget {
    /// When the first peer used it.
    since: Option<RealStopwatch>,
}

impl Budget {
    /// The time that is left. It starts again for a runtime that ends much later.
    fn left(&mut self) -> Duration {
        let since = self.since.filter(|since| since.elapsed() < BUDGET_RESET_AFTER);
        let since = self.since.insert(since.unwrap_or_else(RealStopwatch::start));
        REMOVAL_TIMEOUT.saturating_sub(since.elapsed())
    }
}

/// The time between two attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(40);

const REMOVAL_TIMEOUT: Duration = Duration::from_secs(1);
const BUDGET_RESET_AFTER: Duration = Duration::from_secs(10);
