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

static EXCLUDED: Mutex<()> = Mutex::new(());

/// Keeps forks out until it is dropped.
pub(crate) fn exclude() -> MutexGuard<'static, ()> {
    EXCLUDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands still as long as this is there.
struct Standstill {
    _excluded: MutexGuard<'static, ()>,
    /// The only worker of the runtime waits for the end of this channel.
    resume: Option<mpsc::Sender<()>>,
}

thread_local! {
    /// Of the fork that this thread performs.
    static STANDSTILL: RefCell<Option<Standstill>> = const { RefCell::new(None) };
}

/// To be called before a fork, by the thread that performs it.
#[pyfunction]
pub(crate) fn before_fork() {
    if STANDSTILL.with_borrow(Option::is_some) {
        // Who has loaded the package twice calls twice.
        return;
    }
    let excluded = exclude();
    let resume = Process::existing().map(|process| {
        let (stands_still, standing) = mpsc::channel();
        let (resume, resumed) = mpsc::channel::<()>();
        process.runtime().spawn(async move {
            let _ = stands_still.send(());
            // Ends when the other end is dropped.
            let _ = resumed.recv();
        });
        // No task takes that long between two pauses.
        let _ = standing.recv_timeout(Duration::from_secs(1));
        resume
    });
    STANDSTILL.set(Some(Standstill { _excluded: excluded, resume }));
}

/// To be called in the parent after a fork.
#[pyfunction]
pub(crate) fn after_fork_in_parent() {
    STANDSTILL.take();
}

/// To be called in the child after a fork.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    if let Some(mut standstill) = STANDSTILL.take() {
        // The worker that would be woken is not there.
        mem::forget(standstill.resume.take());
    }
}
