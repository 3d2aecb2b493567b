//! The background task of a peer: sends heartbeats until the peer is closed, and then removes the peer. When a
//! heartbeat is due is decided in [`crate::lease`].

use std::sync::Arc;

use throttle_wire::PeerId;
use tokio::sync::watch;
use tracing::{Instrument as _, debug, debug_span, info, warn};

use super::{CloseMode, PeerInner, RELEASE_RETRY_PAUSE, TARGET, runtime_end};
use crate::{Lost, clock::Time, lease::Step};

/// Starts the task of a peer that has none.
pub(super) fn start(inner: &Arc<PeerInner>) {
    let running = TaskGuard(Arc::clone(inner));
    let span = debug_span!(target: TARGET, parent: None, "peer");
    inner.runtime.spawn(async move { run(&running.0).await }.instrument(span));
}

/// Marks the peer as closed when the task ends, also when the runtime ends.
struct TaskGuard(Arc<PeerInner>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        runtime_end::remove_if_pending(&self.0);
        self.0.closed.send_replace(true);
    }
}

/// Futures that send requests are boxed: a peer waits most of the time, and should then need little memory.
async fn run(inner: &PeerInner) {
    let mut closing = inner.closing.subscribe();
    while closing.borrow().is_none() {
        let step = inner.next_step();
        match step {
            Step::Heartbeat { peer, timeout } => {
                until_closing(&mut closing, Box::pin(inner.heartbeat(peer, timeout))).await;
            }
            Step::Idle | Step::Lost(_) => {
                until_closing(&mut closing, inner.lease_changed.notified()).await
            }
            // Not cancelled by closing: a restore in flight would bring the peer back after its removal.
            Step::Inspect { .. } | Step::Restore { .. } => Box::pin(sync_with_server(inner)).await,
            Step::Wait(time) => {
                let pause = async {
                    tokio::select! {
                        () = inner.clock.sleep_until(time) => {}
                        () = inner.lease_changed.notified() => {}
                    }
                };
                until_closing(&mut closing, pause).await;
            }
        }
    }
    let mode = *closing.borrow();
    if let Some(peer) = end_lease(inner, mode).await
        && mode == Some(CloseMode::Remove)
    {
        Box::pin(remove(inner, peer)).await;
    }
}

/// Runs `work` until it is done or the peer is to be closed.
async fn until_closing(
    closing: &mut watch::Receiver<Option<CloseMode>>,
    work: impl Future<Output = ()>,
) {
    tokio::select! {
        biased;
        _ = closing.wait_for(Option::is_some) => {}
        () = work => {}
    }
}

/// Restores or inspects the peer, after waiting until no lock is just being released.
async fn sync_with_server(inner: &PeerInner) {
    let _server_sync = inner.server_sync.lock().await;
    let step = inner.next_step();
    match step {
        Step::Inspect { peer, timeout } => inner.inspect(peer, timeout).await,
        Step::Restore { peer, locks, timeout } => inner.restore(peer, locks, timeout).await,
        Step::Heartbeat { .. } | Step::Idle | Step::Lost(_) | Step::Wait(_) => {}
    }
}

/// Ends the lease here. Returns the peer and its deadline.
async fn end_lease(inner: &PeerInner, mode: Option<CloseMode>) -> Option<(PeerId, Time)> {
    let _server_sync = inner.server_sync.lock().await;
    let mut state = inner.state();
    let peer = state.lease.peer()?;
    let deadline = state.lease.deadline(peer)?;
    state.lease.close();
    state.to_remove = (mode == Some(CloseMode::Remove)).then_some(peer);
    state.loss.send_replace(Some(Lost::Closed));
    Some((peer, deadline))
}

/// Removes the peer from the server. Repeats that until the server has answered or the lease has ended.
async fn remove(inner: &PeerInner, (peer, deadline): (PeerId, Time)) {
    let url = &*inner.server;
    let removed = async {
        loop {
            match inner.client.remove_peer(peer).await {
                Ok(true) => return debug!(target: TARGET, peer, url, "removed"),
                Ok(false) => return info!(target: TARGET, peer, url, "the peer was gone already"),
                Err(error) => {
                    warn!(target: TARGET, peer, url, %error, "cannot remove the peer, trying again");
                }
            }
            inner.clock.sleep_until(inner.now() + RELEASE_RETRY_PAUSE).await;
        }
    };
    tokio::select! {
        () = removed => {}
        () = inner.clock.sleep_until(deadline) => {}
    }
    inner.state().to_remove = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Peer};

    #[tokio::test]
    async fn a_peer_that_waits_for_its_next_heartbeat_needs_little_memory() {
        let peer = Peer::new(&Client::new("http://localhost:8000").unwrap());
        let size = size_of_val(&run(peer.inner()));
        assert!(size < 2_048, "{size} bytes");
    }
}
