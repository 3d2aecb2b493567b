//! Locks are given back and places in queues given up, until it is certain that the server has nothing of
//! it any more.

use std::{sync::Arc, time::Duration};

use throttle_wire::PeerId;
use tokio::{sync::OwnedMutexGuard, task::JoinHandle};
use tracing::{debug, warn};

use super::{Asking, FAREWELL_PAUSE, Shared, TARGET};

impl Shared {
    /// Gives a lock back, or withdraws from a queue, in the background and until it is certain that
    /// the server has nothing of it any more.
    ///
    /// `asking` is a request for it that is on its way. Nothing else is asked for meanwhile if the `turn`
    /// is here.
    pub(super) fn give_back(
        self: &Arc<Self>,
        peer: PeerId,
        semaphore: String,
        asking: Option<Asking>,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> JoinHandle<()> {
        let returning = Returning::begin(self, semaphore);
        self.runtime.spawn(async move {
            let Returning { shared, semaphore } = &returning;
            // A server that is just told what the peer holds must not hear of this before.
            let upkeep = shared.upkeep.lock().await;
            shared.state().lease.released(peer, semaphore);
            drop(upkeep);
            shared.tell_released(peer, semaphore).await;
            if let Some(asking) = asking {
                shared.outlast(peer, semaphore, asking).await;
            }
            drop((returning, turn));
        })
    }

    /// Goes on to withdraw until a request that is on its way has been answered. It may arrive behind the
    /// withdrawal, and be granted what nobody wants any more.
    async fn outlast(&self, peer: PeerId, semaphore: &str, mut asking: Asking) {
        loop {
            let answered = tokio::select! {
                biased;
                _ = &mut asking => true,
                () = self.clock.sleep_until(self.now() + WITHDRAWAL_PAUSE) => false,
            };
            self.tell_released(peer, semaphore).await;
            if answered || self.state().lease.deadline(peer).is_none() {
                return;
            }
        }
    }

    /// Repeats that a lock is released until the server has heard it, or forgets all of it anyway.
    async fn tell_released(&self, peer: PeerId, semaphore: &str) {
        loop {
            let deadline = {
                let mut state = self.state();
                // If it is over by now, that has to be said before anything is asked.
                self.next_step(&mut state);
                state.lease.deadline(peer)
            };
            let Some(deadline) = deadline else { return };
            tokio::select! {
                biased;
                answer = self.client.release(peer, semaphore) => match answer {
                    Ok(()) => return debug!(target: TARGET, peer, semaphore, "released"),
                    Err(error) if error.is_refusal() => {
                        return debug!(target: TARGET, peer, semaphore, %error, "nothing to release");
                    }
                    Err(error) => {
                        warn!(target: TARGET, peer, semaphore, %error, "cannot release, trying again");
                        self.clock.sleep_until(self.now() + FAREWELL_PAUSE).await;
                    }
                },
                // It may have moved meanwhile.
                () = self.clock.sleep_until(deadline) => {}
            }
        }
    }
}

/// A semaphore on the way back to the server, until this is dropped, be it because the runtime ends.
struct Returning {
    shared: Arc<Shared>,
    semaphore: String,
}

impl Returning {
    fn begin(shared: &Arc<Shared>, semaphore: String) -> Self {
        shared.giving_back.send_modify(|names| {
            names.insert(semaphore.clone());
        });
        Self { shared: Arc::clone(shared), semaphore }
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        self.shared.giving_back.send_modify(|names| {
            names.remove(&self.semaphore);
        });
    }
}

/// Between two withdrawals of a request that is not answered yet.
const WITHDRAWAL_PAUSE: Duration = Duration::from_millis(100);
