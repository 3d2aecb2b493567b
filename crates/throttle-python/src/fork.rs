//! Pauses native work during a fork, so that a child inherits nothing half done.
//!
//! A child has a copy of its parent's memory, but none of its threads. A mutex that another thread has locked
//! stays locked in the child, and global state that it was setting up stays incomplete. So during a fork the
//! runtime is paused, and no client is being built. What the child has inherited refuses to work where it is used:
//! in `open_peer`, `operation` and `process`.

use std::{
    cell::RefCell,
    mem,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use pyo3::prelude::*;

use crate::process::ProcessState;

static FORK_LOCK: Mutex<()> = Mutex::new(());

/// Blocks forks until the guard is dropped.
pub(crate) fn hold_off_forks() -> MutexGuard<'static, ()> {
    FORK_LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime is paused, and no client is built, until this is dropped.
struct PausedRuntime {
    _fork_lock: MutexGuard<'static, ()>,
    /// The only worker of the runtime blocks until this is dropped.
    resume: Option<mpsc::Sender<()>>,
}

thread_local! {
    /// Set while this thread forks.
    static PAUSED_RUNTIME: RefCell<Option<PausedRuntime>> = const { RefCell::new(None) };
}

/// Called before a fork, by the thread that forks.
#[pyfunction]
pub(crate) fn before_fork() {
    if PAUSED_RUNTIME.with_borrow(Option::is_some) {
        // The package is loaded twice, so its hook runs twice.
        return;
    }
    let fork_lock = hold_off_forks();
    let resume = ProcessState::existing().map(|process| {
        let (report_paused, paused) = mpsc::channel();
        let (resume, resumed) = mpsc::channel::<()>();
        process.runtime().spawn(async move {
            let _ = report_paused.send(());
            // Returns when the sender is dropped.
            let _ = resumed.recv();
        });
        // No task runs that long without a pause, so in practice this waits until the worker is blocked.
        let _ = paused.recv_timeout(Duration::from_secs(1));
        resume
    });
    PAUSED_RUNTIME.set(Some(PausedRuntime { _fork_lock: fork_lock, resume }));
}

/// Called in the parent after a fork.
#[pyfunction]
pub(crate) fn after_fork_in_parent() {
    PAUSED_RUNTIME.take();
}

/// Called in the child after a fork.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    if let Some(mut paused) = PAUSED_RUNTIME.take() {
        // Dropping it would wake the worker, which does not exist in the child.
        mem::forget(paused.resume.take());
    }
}
