//! The way into the interpreter for threads of ours, which is closed before the interpreter ends.
//!
//! A thread that wants the lock of an interpreter that is just ending is ended by it, in the middle of
//! whatever it does, and the process crashes. So when the interpreter is about to end, those who are
//! inside are waited for, and nobody gets in any more. Atomics, not a mutex: a child must not inherit it
//! locked.

use std::{
    mem,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use pyo3::prelude::*;
use tokio::runtime::Handle;

static INSIDE: AtomicUsize = AtomicUsize::new(0);
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Lets `act` run in the interpreter, on a thread where it holds up no signs of life; or forgets it, with
/// what it holds, if the interpreter ends.
pub(crate) fn enter(runtime: &Handle, act: impl FnOnce(Python<'_>) + Send + 'static) {
    runtime.spawn_blocking(move || {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if IS_CLOSED.load(Ordering::SeqCst) {
            mem::forget(act);
        } else {
            Python::try_attach(act);
        }
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    });
}

/// Lets nobody in any more, and returns when nobody is inside. To be called when the interpreter ends.
#[pyfunction]
pub(crate) fn close(py: Python<'_>) {
    IS_CLOSED.store(true, Ordering::SeqCst);
    py.detach(|| {
        // They have only to return from a callback. One that never does must not keep us for ever.
        for _ in 0..MOST_LOOKS {
            if INSIDE.load(Ordering::SeqCst) == 0 {
                return;
            }
            thread::park_timeout(BETWEEN_LOOKS);
        }
    });
}

/// Forgets who was inside in the parent. To be called in a child after a fork.
#[pyfunction]
pub(crate) fn after_fork() {
    INSIDE.store(0, Ordering::SeqCst);
}

const MOST_LOOKS: u32 = 2_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
