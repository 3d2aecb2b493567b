//! The task that lets leases end punctually when nobody asks for anything, and that works off a
//! backlog when very many of them end together.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::Notify, task, time};

use crate::handle::Shared;

/// Runs until the last handle is gone.
///
/// `alarm` says that something is due earlier than it was when the task fell asleep, or that it is
/// time to look whether anybody still needs it.
pub(crate) async fn run(shared: Weak<Shared>, alarm: Arc<Notify>) {
    while let Some(sleep) = shared.upgrade().map(|shared| shared.catch_up()) {
        if sleep == Some(Duration::ZERO) {
            let_others_in(&shared).await;
            continue;
        }
        tokio::select! {
            () = time::sleep(sleep.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)) => {}
            () = alarm.notified() => {}
        }
    }
}

/// Gives way to other tasks, and to those who wait for the mutex, between two parts of a backlog.
async fn let_others_in(shared: &Weak<Shared>) {
    for _ in 0..TURNS_OF_OTHERS {
        task::yield_now().await;
        if !shared.upgrade().is_some_and(|shared| shared.is_contended()) {
            break;
        }
    }
}

/// Timers far in the future overflow on some systems.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a backlog gives way before it goes on all the same: about a millisecond if nobody else
/// has anything to do.
const TURNS_OF_OTHERS: usize = 1_000;
