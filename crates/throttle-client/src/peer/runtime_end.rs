//! The removal of peers whose runtime ends before it was sent, as at the end of `main`.
//!
//! A peer that is dropped is removed by its background task. If the runtime ends before, that task is dropped
//! instead, and whoever drops it waits here for a thread with a runtime of its own that removes the peer. All
//! peers of the program have one bounded time for that together: if the server does not answer to the first
//! one, nobody waits for the others.
//!
//! A peer that somebody still has when the runtime ends is left to its lease: that one may still count on its
//! locks until then.

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

/// Removes a peer that was to be removed, if that has not been done.
pub(super) fn remove_if_pending(inner: &Arc<PeerInner>) {
    if thread::panicking() || *inner.closing.borrow() != Some(CloseMode::Remove) {
        return;
    }
    // Without a lock on it there is nobody to decide anything any more.
    let Ok(mut state) = inner.state.lock() else { return };
    let given_up = state.to_remove.take();
    let Some(peer) = given_up.or_else(|| state.lease.close()) else { return };
    drop(state);
    let left = BUDGET.lock().map_or(Duration::ZERO, |mut budget| budget.left());
    if !left.is_zero() {
        remove(inner.client.clone(), peer, left);
    }
}

/// Removes a peer within a bounded time.
fn remove(client: Client, peer: PeerId, left: Duration) {
    let (done, is_done) = mpsc::channel();
    let work = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        let removed = runtime
            .block_on(async { time::timeout(left, remove_repeatedly(client, peer, left)).await });
        debug!(target: TARGET, peer, is_removed = removed.is_ok(), "the runtime ended");
        // A name may be looked up for longer.
        runtime.shutdown_background();
        let _ = done.send(());
    };
    // Without a thread it is up to the lease.
    if thread::Builder::new().name("throttle-farewell".to_owned()).spawn(work).is_ok() {
        let _ = is_done.recv_timeout(left);
    }
}

/// Asks for the removal again and again without waiting for the answers, until there is one.
///
/// The first attempts may use connections of the runtime that ends, which nobody serves any more.
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

/// For how long whoever ends a runtime may be held up by all peers together.
static BUDGET: Mutex<Budget> = Mutex::new(Budget { since: None });

struct Budget {
    /// When the first peer needed it.
    since: Option<RealStopwatch>,
}

impl Budget {
    /// What is left of it. A runtime that ends much later has one of its own.
    fn left(&mut self) -> Duration {
        let since = self.since.filter(|since| since.elapsed() < BUDGET_RESET_AFTER);
        let since = self.since.insert(since.unwrap_or_else(RealStopwatch::start));
        REMOVAL_TIMEOUT.saturating_sub(since.elapsed())
    }
}

/// Between two attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(40);

const REMOVAL_TIMEOUT: Duration = Duration::from_secs(1);
const BUDGET_RESET_AFTER: Duration = Duration::from_secs(10);
