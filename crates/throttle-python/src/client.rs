//! The client of a server, with one operation for each route.

use std::{collections::BTreeMap, time::Duration};

use pyo3::prelude::*;
use throttle_client::{Admission, Error, Labels, Restore, RetryPolicy};

use crate::{
    operation::{Operation, seconds},
    process::ProcessState,
};

/// The settings of a client. Clients with equal settings share their connections.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(crate) struct Settings {
    urls: Vec<String>,
    headers: Vec<(String, String)>,
    token: Option<String>,
    ca: Option<Vec<u8>>,
    client_cert: Option<Vec<u8>>,
    /// The time limit of a request. Peers have limits of their own.
    timeout: Option<Duration>,
}

impl Settings {
    /// Builds the client. Without a timeout it repeats requests for a minute if the server is away.
    pub(crate) fn build(&self) -> Result<throttle_client::Client, Error> {
        let mut urls = self.urls.iter();
        let policy =
            RetryPolicy { budget: self.timeout.unwrap_or(RETRY_POLICY.budget), ..RETRY_POLICY };
        let mut builder = throttle_client::Client::builder(urls.next().map_or("", |url| url));
        builder = builder.retry(policy);
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        for url in urls {
            builder = builder.or_url(url);
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        if let Some(token) = &self.token {
            builder = builder.bearer_token(token);
        }
        if let Some(pem) = &self.ca {
            builder = builder.ca_certificates(pem.as_slice());
        }
        if let Some(pem) = &self.client_cert {
            builder = builder.client_certificate(pem.as_slice());
        }
        builder.build()
    }
}

/// The client of a server at one or several URLs.
#[pyclass(frozen, module = "throttle_client._native")]
pub(crate) struct Client {
    settings: Settings,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (
        urls, headers=Vec::new(), token=None, ca=None, client_cert=None, timeout=None,
    ))]
    fn new(
        urls: Vec<String>,
        headers: Vec<(String, String)>,
        token: Option<String>,
        ca: Option<Vec<u8>>,
        client_cert: Option<Vec<u8>>,
        timeout: Option<f64>,
    ) -> Self {
        let timeout = timeout.map(seconds);
        Self { settings: Settings { urls, headers, token, ca, client_cert, timeout } }
    }

    /// Whether the client for peers is built, so that [`Peer`](crate::peer::Peer) does not have to wait for it.
    fn is_ready(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(ProcessState::current(py)?.built_client(&self.for_peers()).is_some())
    }

    /// Builds the client for peers. It takes time, for example to read the certificates of the system.
    fn prepare(&self, py: Python<'_>) -> PyResult<Operation> {
        let (process, settings) = (ProcessState::current(py)?, self.for_peers());
        let runtime = process.runtime();
        let future = async move { process.client(settings).await.map(drop) };
        Ok(Operation::new(runtime, future))
    }

    fn new_peer(&self, py: Python<'_>, expires_in: f64) -> PyResult<Operation> {
        self.operation(py, async move |client| client.new_peer(seconds(expires_in)).await)
    }

    /// Whether the lock is held, and its fencing token.
    #[pyo3(signature = (peer, semaphore, count, expires_in=None, block_for=None))]
    fn acquire(
        &self,
        py: Python<'_>,
        peer: u64,
        semaphore: String,
        count: i64,
        expires_in: Option<f64>,
        block_for: Option<f64>,
    ) -> PyResult<Operation> {
        // The server refuses 0, with its own message.
        let count = u64::try_from(count).unwrap_or(0);
        self.operation(py, async move |client| {
            let mut acquire = client.acquire(peer, &semaphore, count);
            if let Some(expires_in) = expires_in {
                acquire = acquire.expires_in(seconds(expires_in));
            }
            if let Some(block_for) = block_for {
                acquire = acquire.block_for(seconds(block_for));
            }
            Ok(match acquire.await? {
                Admission::Granted { token } => (true, token),
                Admission::Queued => (false, None),
            })
        })
    }

    fn restore(
        &self,
        py: Python<'_>,
        peer: u64,
        acquired: BTreeMap<String, i64>,
        expires_in: f64,
    ) -> PyResult<Operation> {
        let (expires_in, labels, sequence) = (seconds(expires_in), Labels::new(), None);
        let restore = Restore { expires_in, peer_id: peer, acquired, labels, sequence };
        self.operation(py, async move |client| client.restore(&restore).await)
    }

    fn remainder(&self, py: Python<'_>, semaphore: String) -> PyResult<Operation> {
        self.operation(py, async move |client| client.remainder(&semaphore).await)
    }

    fn is_acquired(&self, py: Python<'_>, peer: u64) -> PyResult<Operation> {
        self.operation(py, async move |client| client.is_acquired(peer).await)
    }

    /// Whether the lock with this fencing token is held.
    fn is_held(&self, py: Python<'_>, semaphore: String, token: u64) -> PyResult<Operation> {
        self.operation(py, async move |client| client.is_held(&semaphore, token).await)
    }

    fn remove_peer(&self, py: Python<'_>, peer: u64) -> PyResult<Operation> {
        self.operation(py, async move |client| client.remove_peer(peer).await)
    }

    fn release(&self, py: Python<'_>, peer: u64, semaphore: String) -> PyResult<Operation> {
        self.operation(py, async move |client| client.release(peer, &semaphore).await)
    }

    fn heartbeat(&self, py: Python<'_>, peer: u64, expires_in: f64) -> PyResult<Operation> {
        let expires_in = seconds(expires_in);
        self.operation(py, async move |client| client.heartbeat(peer, expires_in).await)
    }
}

impl Client {
    /// The settings of the client for peers.
    pub(crate) fn for_peers(&self) -> Settings {
        Settings { timeout: None, ..self.settings.clone() }
    }

    fn operation<T, F>(
        &self,
        py: Python<'_>,
        request: impl FnOnce(throttle_client::Client) -> F + Send + 'static,
    ) -> PyResult<Operation>
    where
        T: for<'py> IntoPyObject<'py> + Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (process, settings) = (ProcessState::current(py)?, self.settings.clone());
        let runtime = process.runtime();
        let future = async move { request(process.client(settings).await?).await };
        Ok(Operation::new(runtime, future))
    }
}

/// Bridges an absence of the server of a minute, as version 0.5 of the package did.
const RETRY_POLICY: RetryPolicy = RetryPolicy {
    attempts: 60,
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(2),
    budget: Duration::from_secs(60),
};
