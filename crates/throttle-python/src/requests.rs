//! Requests: each is made first, and then waited for, by a thread or by an event loop.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use pyo3::{
    IntoPyObjectExt as _,
    exceptions::{PyRuntimeError, PyTimeoutError},
    prelude::*,
};
use throttle_client::{Admission, Error, Labels, Restore};
use tokio::{runtime::Handle, sync::oneshot, task::AbortHandle, time};

use crate::{errors, gate, world};

/// The server at a URL.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct Client {
    url: String,
}

/// A request that waits to be sent. It can be sent once.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct Request {
    future: Mutex<Option<Answering>>,
    runtime: Handle,
    sent: OnceLock<AbortHandle>,
}

type Answering = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// What a server may answer.
enum Answer {
    Bool(bool),
    /// Whether a lock is held, and its fencing token.
    Held(bool, Option<u64>),
    Int(i64),
    None,
    Peer(u64),
}

impl Answer {
    fn to_python(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match *self {
            Self::Bool(answer) => answer.into_py_any(py),
            Self::Held(is_held, token) => (is_held, token).into_py_any(py),
            Self::Int(answer) => answer.into_py_any(py),
            Self::None => Ok(py.None()),
            Self::Peer(id) => id.into_py_any(py),
        }
    }
}

#[pymethods]
impl Client {
    #[new]
    fn new(url: String) -> Self {
        Self { url }
    }

    fn new_peer(&self, py: Python<'_>, expires_in: f64) -> PyResult<Request> {
        let expires_in = seconds(expires_in);
        self.request(py, async move |client| Ok(Answer::Peer(client.new_peer(expires_in).await?)))
    }

    #[pyo3(signature = (peer, semaphore, count, expires_in=None, block_for=None))]
    fn acquire(
        &self,
        py: Python<'_>,
        peer: u64,
        semaphore: String,
        count: i64,
        expires_in: Option<f64>,
        block_for: Option<f64>,
    ) -> PyResult<Request> {
        // What is no count at all is for the server to refuse, in its own words.
        let count = u64::try_from(count).unwrap_or(0);
        self.request(py, async move |client| {
            let mut acquire = client.acquire(peer, &semaphore, count);
            if let Some(expires_in) = expires_in {
                acquire = acquire.expires_in(seconds(expires_in));
            }
            if let Some(block_for) = block_for {
                acquire = acquire.block_for(seconds(block_for));
            }
            Ok(match acquire.await? {
                Admission::Held { token } => Answer::Held(true, token),
                Admission::Pending => Answer::Held(false, None),
            })
        })
    }

    fn restore(
        &self,
        py: Python<'_>,
        peer: u64,
        acquired: BTreeMap<String, i64>,
        expires_in: f64,
    ) -> PyResult<Request> {
        let (expires_in, labels, sequence) = (seconds(expires_in), Labels::new(), None);
        let restore = Restore { expires_in, peer_id: peer, acquired, labels, sequence };
        self.request(py, async move |client| {
            client.restore(&restore).await?;
            Ok(Answer::None)
        })
    }

    fn remainder(&self, py: Python<'_>, semaphore: String) -> PyResult<Request> {
        self.request(py, async move |client| Ok(Answer::Int(client.remainder(&semaphore).await?)))
    }

    fn is_acquired(&self, py: Python<'_>, peer: u64) -> PyResult<Request> {
        self.request(py, async move |client| Ok(Answer::Bool(client.is_acquired(peer).await?)))
    }

    fn remove_peer(&self, py: Python<'_>, peer: u64) -> PyResult<Request> {
        self.request(py, async move |client| Ok(Answer::Bool(client.remove_peer(peer).await?)))
    }

    fn release(&self, py: Python<'_>, peer: u64, semaphore: String) -> PyResult<Request> {
        self.request(py, async move |client| {
            client.release(peer, &semaphore).await?;
            Ok(Answer::None)
        })
    }

    fn heartbeat(&self, py: Python<'_>, peer: u64, expires_in: f64) -> PyResult<Request> {
        let expires_in = seconds(expires_in);
        self.request(py, async move |client| {
            client.heartbeat(peer, expires_in).await?;
            Ok(Answer::None)
        })
    }
}

impl Client {
    fn request<F>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(throttle_client::Client) -> F + Send + 'static,
    ) -> PyResult<Request>
    where
        F: Future<Output = Result<Answer, Error>> + Send + 'static,
    {
        let client = world::client(py, &self.url)?;
        let future = Mutex::new(Some(Box::pin(ask(client)) as Answering));
        Ok(Request { future, runtime: world::runtime(py)?, sent: OnceLock::new() })
    }
}

#[pymethods]
impl Request {
    /// Sends it, and returns the answer. Raises what signal handlers raise, and hangs up then.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let (answered, mut answer) = oneshot::channel();
        self.spawn(async move |future| {
            // Nobody waits any more if a signal came.
            let _ = answered.send(future.await);
        })?;
        let mut left = timeout.map(seconds);
        loop {
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            let answer = &mut answer;
            let waited = async move { time::timeout(slice, answer).await };
            match py.detach(|| self.runtime.block_on(waited)) {
                Ok(Ok(answer)) => {
                    let answer = answer.map_err(|error| errors::exception(py, &error))?;
                    return answer.to_python(py);
                }
                Ok(Err(_)) => return Err(PyRuntimeError::new_err("the request was cancelled")),
                Err(_) => {}
            }
            left = left.map(|left| left.saturating_sub(slice));
            let is_over = left.is_some_and(|left| left.is_zero());
            let late = is_over.then(|| PyTimeoutError::new_err("no answer in time"));
            if let Some(raised) = py.check_signals().err().or(late) {
                self.cancel();
                return Err(raised);
            }
        }
    }

    /// Sends it, and calls `callback(answer, exception)` from another thread, one of them `None`.
    fn begin(&self, callback: Py<PyAny>) -> PyResult<()> {
        let runtime = self.runtime.clone();
        self.spawn(async move |future| {
            let answer = future.await;
            gate::enter(&runtime, move |py| {
                let outcome = match answer {
                    Ok(answer) => answer.to_python(py).map(|answer| (answer, py.None())),
                    Err(error) => {
                        let raised = errors::exception(py, &error);
                        Ok((py.None(), raised.into_value(py).into_any()))
                    }
                };
                let called = outcome.and_then(|outcome| callback.call1(py, outcome));
                if let Err(error) = called {
                    error.write_unraisable(py, None);
                }
            });
        })
    }

    /// Hangs up if it was sent and not answered yet.
    fn cancel(&self) {
        if let Some(sent) = self.sent.get() {
            sent.abort();
        }
    }
}

impl Request {
    fn spawn<F>(&self, perform: impl FnOnce(Answering) -> F) -> PyResult<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let future = self.future.lock().unwrap_or_else(PoisonError::into_inner).take();
        let future =
            future.ok_or_else(|| PyRuntimeError::new_err("a request can be sent only once"))?;
        // Only one comes as far as this.
        let _ = self.sent.set(self.runtime.spawn(perform(future)).abort_handle());
        Ok(())
    }
}

/// Seconds as Python counts them. Nothing is less than none, and nothing longer than the longest.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// How long the interpreter may not hear of a signal.
const SLICE: Duration = Duration::from_millis(100);
