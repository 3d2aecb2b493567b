//! Forks happen while nothing runs that a child could inherit half done.
//!
//! A child has none of the threads of its parent, but the memory as they left it: whatever one of them has
//! locked, or is about to set up for the whole process, stays so for ever. So the runtime stands still during a
//! fork, and no client is being built.

use std::{
    cell::RefCell,
    mem,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use pyo3::prelude::*;

use crate::process::Process;

static FORK_LOCK: Mutex<()> = Mutex::new(());

/// Keeps forks out until it is dropped.
pub(crate) fn hold_off_forks() -> MutexGuard<'static, ()> {
    FORK_LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands still as long as this is there.
struct PausedRuntime {
    _fork_lock: MutexGuard<'static, ()>,
    /// The only worker of the runtime waits for the end of this channel.
    resume: Option<mpsc::Sender<()>>,
}

thread_local! {
    /// Of the fork that this thread performs.
    static PAUSED_RUNTIME: RefCell<Option<PausedRuntime>> = const { RefCell::new(None) };
}

/// To be called before a fork, by the thread that performs it.
#[pyfunction]
pub(crate) fn before_fork() {
    if PAUSED_RUNTIME.with_borrow(Option::is_some) {
        // Who has loaded the package twice calls twice.
        return;
    }
    let fork_lock = hold_off_forks();
    let resume = Process::existing().map(|process| {
        let (report_paused, paused) = mpsc::channel();
        let (resume, resumed) = mpsc::channel::<()>();
        process.runtime().spawn(async move {
            let _ = report_paused.send(());
            // Ends when the other end is dropped.
            let _ = resumed.recv();
        });
        // No task takes that long between two pauses.
        let _ = paused.recv_timeout(Duration::from_secs(1));
        resume
    });
    PAUSED_RUNTIME.set(Some(PausedRuntime { _fork_lock: fork_lock, resume }));
}

/// To be called in the parent after a fork.
#[pyfunction]
pub(crate) fn after_fork_in_parent() {
    PAUSED_RUNTIME.take();
}

/// To be called in the child after a fork.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    if let Some(mut paused) = PAUSED_RUNTIME.take() {
        // The worker that would be woken is not there.
        mem::forget(paused.resume.take());
    }
}
