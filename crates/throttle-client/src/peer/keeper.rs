//! The task that shows signs of life, until the peer is given up; then it removes the peer.

use std::sync::Arc;

use throttle_wire::PeerId;
use tracing::{Span, debug, debug_span, warn};

use super::{End, Shared, TARGET};
use crate::{Lost, lease::Step, world::Time};

pub(super) fn span() -> Span {
    debug_span!(target: TARGET, parent: None, "keeper")
}

pub(super) async fn keep(shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    loop {
        let step = shared.next_step(&mut shared.state());
        if matches!(step, Step::Restore { .. }) {
            // Not cut short: what is on its way would bring the peer back after it was removed.
            restore(&shared).await;
        }
        tokio::select! {
            biased;
            _ = closing.wait_for(Option::is_some) => break,
            () = perform(&shared, step) => {}
        }
    }
    let end = *closing.borrow();
    if let Some(peer) = give_up(&shared).await
        && end == Some(End::Remove)
    {
        remove(&shared, peer).await;
    }
    shared.closed.send_replace(true);
}

async fn perform(shared: &Shared, step: Step) {
    match step {
        Step::Heartbeat { peer, timeout } => shared.heartbeat(peer, timeout).await,
        Step::Idle | Step::Lost(_) => shared.changed.notified().await,
        Step::Restore { .. } => {}
        Step::Wait(time) => tokio::select! {
            () = shared.clock.sleep_until(time) => {}
            () = shared.changed.notified() => {}
        },
    }
}

/// Tells the server of the peer, unless somebody else did so meanwhile.
async fn restore(shared: &Shared) {
    let _upkeep = shared.upkeep.lock().await;
    let step = shared.next_step(&mut shared.state());
    if let Step::Restore { peer, locks, timeout } = step {
        shared.restore(peer, locks, timeout).await;
    }
}

/// Forgets the peer here. Returns which it was, and until when it is certain at the server.
async fn give_up(shared: &Shared) -> Option<(PeerId, Time)> {
    let _upkeep = shared.upkeep.lock().await;
    let mut state = shared.state();
    let (peer, _) = state.lease.peer()?;
    let deadline = state.lease.deadline(peer)?;
    state.lease.close();
    state.fate.send_replace(Some(Lost::Closed));
    Some((peer, deadline))
}

/// Removes the peer, until the server has heard it or forgets the peer anyway.
async fn remove(shared: &Shared, (peer, deadline): (PeerId, Time)) {
    let removed = async {
        while let Err(error) = shared.client.remove_peer(peer).await {
            warn!(target: TARGET, peer, %error, "cannot remove the peer, trying again");
            shared.clock.sleep_until(shared.now() + super::RELEASE_PAUSE).await;
        }
        debug!(target: TARGET, peer, "removed");
    };
    tokio::select! {
        () = removed => {}
        () = shared.clock.sleep_until(deadline) => {}
    }
}
