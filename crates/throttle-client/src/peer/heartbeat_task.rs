//! The task that shows signs of life, until the peer is given up; then it removes the peer.

use std::sync::Arc;

use throttle_wire::PeerId;
use tokio::sync::watch;
use tracing::{Instrument as _, debug, debug_span, info, warn};

use super::{CloseMode, PeerInner, RELEASE_RETRY_PAUSE, TARGET, runtime_end};
use crate::{Lost, clock::Time, lease::Step};

/// Starts the background task of a peer that has none.
pub(super) fn start(inner: &Arc<PeerInner>) {
    let running = TaskGuard(Arc::clone(inner));
    let span = debug_span!(target: TARGET, parent: None, "peer");
    inner.runtime.spawn(async move { run(&running.0).await }.instrument(span));
}

/// A peer that has a background task. If that ends, be it because the runtime ends, nobody has to wait for
/// it.
struct TaskGuard(Arc<PeerInner>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        runtime_end::remove_if_pending(&self.0);
        self.0.closed.send_replace(true);
    }
}

/// Whatever sends requests is boxed, for a peer waits most of the time, and takes little memory then.
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
            // Not cut short: what is on its way would bring the peer back after it was removed.
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
    let end = *closing.borrow();
    if let Some(peer) = forget_peer(inner, end).await
        && end == Some(CloseMode::Remove)
    {
        Box::pin(remove(inner, peer)).await;
    }
}

/// Performs something, but no longer than until the peer is given up.
async fn until_closing(
    closing: &mut watch::Receiver<Option<CloseMode>>,
    perform: impl Future<Output = ()>,
) {
    tokio::select! {
        biased;
        _ = closing.wait_for(Option::is_some) => {}
        () = perform => {}
    }
}

/// Tells the server what the peer holds, or asks it, as soon as nothing is just changing about that.
async fn sync_with_server(inner: &PeerInner) {
    let _server_sync = inner.server_sync.lock().await;
    let step = inner.next_step();
    match step {
        Step::Inspect { peer, timeout } => inner.inspect(peer, timeout).await,
        Step::Restore { peer, locks, timeout } => inner.restore(peer, locks, timeout).await,
        Step::Heartbeat { .. } | Step::Idle | Step::Lost(_) | Step::Wait(_) => {}
    }
}

/// Forgets the peer here. Returns which it was, and until when it is certain at the server.
async fn forget_peer(inner: &PeerInner, end: Option<CloseMode>) -> Option<(PeerId, Time)> {
    let _server_sync = inner.server_sync.lock().await;
    let mut state = inner.state();
    let (peer, _) = state.lease.peer()?;
    let deadline = state.lease.deadline(peer)?;
    state.lease.close();
    state.to_remove = (end == Some(CloseMode::Remove)).then_some(peer);
    state.loss.send_replace(Some(Lost::Closed));
    Some((peer, deadline))
}

/// Removes the peer, until the server has heard it or forgets the peer anyway.
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
    async fn a_peer_that_waits_for_its_next_sign_of_life_takes_little_memory() {
        let peer = Peer::new(&Client::new("http://localhost:8000").unwrap());
        let size = size_of_val(&run(peer.inner()));
        assert!(size < 2_048, "{size} bytes");
    }
}
