//! The task that lets leases end punctually when nobody asks for anything.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time};

use crate::handle::Shared;

/// Runs until the last handle is gone.
///
/// `alarm` says that something is due earlier than it was when the task fell asleep, or that it is
/// time to look whether anybody still needs it.
pub(crate) async fn run(shared: Weak<Shared>, alarm: Arc<Notify>) {
    while let Some(sleep) = shared.upgrade().map(|shared| shared.expire()) {
        tokio::select! {
            () = time::sleep(sleep.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)) => {}
            () = alarm.notified() => {}
        }
    }
}

/// Timers far in the future overflow on some systems.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);
