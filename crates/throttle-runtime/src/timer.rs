//! The task that lets leases end punctually when nobody asks for anything, and that keeps the service
//! attentive.

use std::sync::{Arc, Weak};

use tokio::{sync::Notify, time};

use crate::{failure::TimerEnded, handle::Shared};

/// Runs until the last handle is gone.
///
/// It is a task and no thread of its own, for a thread would tick on while the runtime is starved and
/// reads no heartbeats. `alarm` says that something is due earlier than it was when the task fell
/// asleep, or that it is time to look whether anybody still needs it.
pub(crate) fn run(shared: Weak<Shared>, alarm: Arc<Notify>) -> impl Future<Output = ()> + Send {
    // A task can be dropped before its first turn.
    let ended = TimerEnded(Weak::clone(&shared));
    async move {
        let _ended = ended;
        while let Some((sleep, stalls)) = shared.upgrade().map(|shared| shared.tick()) {
            if let Some(stalls) = stalls {
                tracing::warn!(
                    stalls = stalls.count,
                    seconds = stalls.total.as_secs_f64(),
                    "the server stood still; leases are not charged with that time"
                );
            }
            tokio::select! {
                () = time::sleep(sleep) => {}
                () = alarm.notified() => {}
            }
        }
    }
}
