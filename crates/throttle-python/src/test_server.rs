//! A server within the process, for the tests of users.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
};
use throttle_runtime::{Count, Handle, Level, PeerId, SemaphoreConfig, Settings};
use tokio::{net::TcpListener, runtime};

/// A server on a free port of the loopback interface. Each start begins without any state.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct TestServer {
    semaphores: BTreeMap<String, SemaphoreConfig>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

struct Running {
    /// A runtime of its own, so that all connections of the server end with it.
    runtime: runtime::Runtime,
    handle: Handle,
}

#[pymethods]
impl TestServer {
    /// Takes the maximum and the level of each semaphore.
    #[new]
    fn new(py: Python<'_>, semaphores: BTreeMap<String, (u64, i32)>) -> PyResult<Self> {
        let semaphores = semaphores
            .into_iter()
            .map(|(name, (max, level))| {
                let max = Count::new(max).ok_or_else(|| {
                    PyValueError::new_err(format!("{max} is no full count of {name:?}"))
                })?;
                Ok((name, SemaphoreConfig { max, level: Level(level) }))
            })
            .collect::<PyResult<BTreeMap<_, _>>>()?;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (running, address) = py.detach(|| Running::start(&semaphores, any_port))?;
        Ok(Self { semaphores, address, running: Mutex::new(Some(running)) })
    }

    /// The URL of the server.
    #[getter]
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts a stopped server again, at the same address.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.is_none() {
                *running = Some(Running::start(&self.semaphores, self.address)?.0);
            }
            Ok(())
        })
    }

    /// Stops the server as a power failure does: connections break, and all state is lost.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(running) = running {
                // All tasks have ended when this returns, unless one of them never yields.
                running.runtime.shutdown_timeout(STOP_TIMEOUT);
            }
        });
    }

    /// Removes a peer, as an operator does. Returns whether it existed.
    fn remove_peer(&self, py: Python<'_>, peer: u64) -> PyResult<bool> {
        let Some(peer) = PeerId::new(peer) else { return Ok(false) };
        self.block_on(py, async move |handle| handle.remove_peer(peer, None).await)
    }
}

impl TestServer {
    fn block_on<T: Send, F: Future<Output = Result<T, throttle_runtime::Error>>>(
        &self,
        py: Python<'_>,
        request: impl FnOnce(Handle) -> F + Send,
    ) -> PyResult<T> {
        let (runtime, handle) = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let running = running.as_ref();
            let running =
                running.ok_or_else(|| PyRuntimeError::new_err("the server is stopped"))?;
            (running.runtime.handle().clone(), running.handle.clone())
        };
        let answer = py.detach(|| runtime.block_on(request(handle)));
        answer.map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

impl Running {
    fn start(
        semaphores: &BTreeMap<String, SemaphoreConfig>,
        address: SocketAddr,
    ) -> std::io::Result<(Self, SocketAddr)> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("throttle-test-server")
            .enable_all()
            .build()?;
        let (handle, listener) = runtime.block_on(async {
            let listener = TcpListener::bind(address).await?;
            Ok::<_, std::io::Error>((Handle::start(Settings::default(), semaphores), listener))
        })?;
        let address = listener.local_addr()?;
        let routes = throttle_http::routes(handle.clone());
        runtime.spawn(async { axum::serve(listener, routes).await });
        Ok((Self { runtime, handle }, address))
    }
}

/// The longest time that the tasks of a stopped server get to end. Normally they end at once.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);
