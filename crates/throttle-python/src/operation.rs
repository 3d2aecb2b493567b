//! Operations: everything that takes time is a future. Once it is started, it runs on the runtime of the
//! process, and wakes Python when it ends.

use std::{
    mem,
    pin::Pin,
    process,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use pyo3::{IntoPyObjectExt as _, exceptions::PyRuntimeError, prelude::*};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::wakeup::{Wakeup, WakeupSender};

/// A future for Python. It is started at most once, and its result is taken at most once.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct Operation {
    future: Mutex<Option<BoxedFuture>>,
    runtime: Handle,
    result: Arc<Mutex<Option<MakeResult>>>,
    started: OnceLock<AbortHandle>,
    process: u32,
}

type BoxedFuture = Pin<Box<dyn Future<Output = MakeResult> + Send>>;

/// Converts the result into a Python object or an exception, in a thread of the interpreter.
type MakeResult = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// An error that can be converted into a Python exception.
pub(crate) trait IntoException: Send + 'static {
    /// Converts the error.
    fn into_exception(self, py: Python<'_>) -> PyErr;
}

impl Operation {
    /// An operation on `runtime` whose result is what `future` returns.
    pub(crate) fn new<T, E>(
        runtime: Handle,
        future: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Self
    where
        T: for<'py> IntoPyObject<'py> + Send + 'static,
        E: IntoException,
    {
        let future: BoxedFuture = Box::pin(async move {
            let result = future.await;
            let make_result: MakeResult = Box::new(move |py| match result {
                Ok(value) => value.into_py_any(py),
                Err(error) => Err(error.into_exception(py)),
            });
            make_result
        });
        Self {
            future: Mutex::new(Some(future)),
            runtime,
            result: Arc::default(),
            started: OnceLock::new(),
            process: process::id(),
        }
    }
}

#[pymethods]
impl Operation {
    /// Starts it. The wakeup receives `token` when it has ended, also if it was cancelled.
    fn start(&self, wakeup: &Wakeup, token: u64) -> PyResult<()> {
        let future = self.future.lock().unwrap_or_else(PoisonError::into_inner).take();
        let future = future.filter(|_| self.process == process::id());
        let future = future.ok_or_else(|| {
            PyRuntimeError::new_err("an operation is started once, by the process that made it")
        })?;
        let notify_end = NotifyEnd { sender: Arc::clone(&wakeup.sender), token };
        let result = Arc::clone(&self.result);
        let task = self.runtime.spawn(async move {
            let make_result = future.await;
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(make_result);
            drop(notify_end);
        });
        let _ = self.started.set(task.abort_handle());
        Ok(())
    }

    /// The result, or the exception.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let make_result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        match make_result {
            Some(make_result) => make_result(py),
            None => Err(PyRuntimeError::new_err("the operation has no result")),
        }
    }

    /// Cancels it, unless it has ended already.
    fn cancel(&self) {
        if self.process == process::id()
            && let Some(task) = self.started.get()
        {
            task.abort();
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.process != process::id() {
            // Threads of the parent may have locked its mutexes at the fork, so that a drop could hang.
            mem::forget(self.future.get_mut().map(Option::take));
            mem::forget(Arc::clone(&self.result));
        }
    }
}

/// Notifies Python when it is dropped: after the result is stored, or when the task is aborted.
struct NotifyEnd {
    sender: Arc<WakeupSender>,
    token: u64,
}

impl Drop for NotifyEnd {
    fn drop(&mut self) {
        self.sender.notify_end(self.token);
    }
}

/// A duration from seconds as a Python float, limited to the range of `Duration`.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
