//! The task that shows signs of life, until the peer is given up; then it removes the peer.

use std::sync::Arc;

use throttle_wire::PeerId;
use tokio::sync::watch;
use tracing::{Instrument as _, debug, debug_span, info, warn};

use super::{End, FAREWELL_PAUSE, Shared, TARGET, runtime_end};
use crate::{Lost, clock::Time, lease::Step};

/// Starts the background task of a peer that has none.
pub(super) fn start(shared: &Arc<Shared>) {
    let running = Running(Arc::clone(shared));
    let span = debug_span!(target: TARGET, parent: None, "peer");
    shared.runtime.spawn(async move { run(&running.0).await }.instrument(span));
}

/// A peer that has a background task. If that ends, be it because the runtime ends, nobody has to wait for
/// it.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        runtime_end::make_up_for(&self.0);
        self.0.closed.send_replace(true);
    }
}

/// Whatever sends requests is boxed, for a peer waits most of the time, and takes little memory then.
async fn run(shared: &Shared) {
    let mut closing = shared.closing.subscribe();
    while closing.borrow().is_none() {
        let step = shared.next_step();
        match step {
            Step::Heartbeat { peer, timeout } => {
                unless(&mut closing, Box::pin(shared.heartbeat(peer, timeout))).await;
            }
            Step::Idle | Step::Lost(_) => unless(&mut closing, shared.changed.notified()).await,
            // Not cut short: what is on its way would bring the peer back after it was removed.
            Step::Inspect { .. } | Step::Restore { .. } => Box::pin(tell(shared)).await,
            Step::Wait(time) => {
                let pause = async {
                    tokio::select! {
                        () = shared.clock.sleep_until(time) => {}
                        () = shared.changed.notified() => {}
                    }
                };
                unless(&mut closing, pause).await;
            }
        }
    }
    let end = *closing.borrow();
    if let Some(peer) = give_up(shared, end).await
        && end == Some(End::Remove)
    {
        Box::pin(remove(shared, peer)).await;
    }
}

/// Performs something, but no longer than until the peer is given up.
async fn unless(closing: &mut watch::Receiver<Option<End>>, perform: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        _ = closing.wait_for(Option::is_some) => {}
        () = perform => {}
    }
}

/// Tells the server what the peer holds, or asks it, as soon as nothing is just changing about that.
async fn tell(shared: &Shared) {
    let _telling = shared.telling.lock().await;
    let step = shared.next_step();
    match step {
        Step::Inspect { peer, timeout } => shared.inspect(peer, timeout).await,
        Step::Restore { peer, locks, timeout } => shared.restore(peer, locks, timeout).await,
        Step::Heartbeat { .. } | Step::Idle | Step::Lost(_) | Step::Wait(_) => {}
    }
}

/// Forgets the peer here. Returns which it was, and until when it is certain at the server.
async fn give_up(shared: &Shared, end: Option<End>) -> Option<(PeerId, Time)> {
    let _telling = shared.telling.lock().await;
    let mut state = shared.state();
    let (peer, _) = state.lease.peer()?;
    let deadline = state.lease.deadline(peer)?;
    state.lease.close();
    state.to_remove = (end == Some(End::Remove)).then_some(peer);
    state.loss.send_replace(Some(Lost::Closed));
    Some((peer, deadline))
}

/// Removes the peer, until the server has heard it or forgets the peer anyway.
async fn remove(shared: &Shared, (peer, deadline): (PeerId, Time)) {
    let url = &*shared.server;
    let removed = async {
        loop {
            match shared.client.remove_peer(peer).await {
                Ok(true) => return debug!(target: TARGET, peer, url, "removed"),
                Ok(false) => return info!(target: TARGET, peer, url, "the peer was gone already"),
                Err(error) => {
                    warn!(target: TARGET, peer, url, %error, "cannot remove the peer, trying again");
                }
            }
            shared.clock.sleep_until(shared.now() + FAREWELL_PAUSE).await;
        }
    };
    tokio::select! {
        () = removed => {}
        () = shared.clock.sleep_until(deadline) => {}
    }
    shared.state().to_remove = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Peer};

    #[tokio::test]
    async fn a_peer_that_waits_for_its_next_sign_of_life_takes_little_memory() {
        let peer = Peer::new(&Client::new("http://localhost:8000").unwrap());
        let size = size_of_val(&run(peer.shared()));
        assert!(size < 2_048, "{size} bytes");
    }
}
