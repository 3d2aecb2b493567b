//! The client of one server, and its requests.

mod acquire;
mod builder;
mod new_peer;
mod query;
mod routes;

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Method, RequestBuilder, Url};
use throttle_wire::LockRequest;
use tracing::{Instrument as _, debug_span};

use self::query::append_query;
pub use self::{
    acquire::{Acquire, Admission},
    builder::{ClientBuilder, http_client_builder},
    new_peer::NewPeer,
};
use crate::{
    Error, RetryPolicy,
    answer::Answer,
    retry::{FailedAttempt, Plan, Repeat},
    server_url::ServerUrl,
    transport::Transport,
};

/// A client of one server.
///
/// Clones are cheap and share their connections, which are kept open and reused.
///
/// All methods fail with [`Error::Connect`], [`Error::Timeout`], [`Error::Transport`] or
/// [`Error::UnexpectedAnswer`] if the network, a proxy or the server fails in all attempts that the
/// [`RetryPolicy`] allows. In addition, each method lists the [codes](Error::code) with which the server
/// refuses it. Every server limits the size of requests, and refuses larger ones.
///
/// Dropping the future of a request closes its connection, but does not undo what the server has done. A
/// dropped request that waits for a lock leaves a pending lock behind, which the server cancels unless the
/// peer asks again soon.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<ClientInner>,
}

pub(crate) struct ClientInner {
    pub(crate) transport: Arc<Transport>,
    pub(crate) timeout: Duration,
    pub(crate) retry: RetryPolicy,
}

impl Client {
    /// A client of the server at `url`, such as `http://localhost:8000`.
    ///
    /// The URL may have a path, if a proxy or another application serves Throttle there. A slash at its end
    /// makes no difference. On Unix, `unix:/run/throttle.sock` is a server that listens on a socket in the
    /// file system.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`].
    pub fn new(url: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// Builds a client of the server at `url` with settings that differ from the default.
    pub fn builder(url: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(url.as_ref())
    }

    /// The URLs of the server, without credentials, in the order in which they were added.
    pub fn urls(&self) -> Vec<String> {
        let urls = self.inner.transport.urls.iter();
        urls.map(|server| server.endpoint().url().to_owned()).collect()
    }

    /// A client of the same server that sends each request once, with this timeout.
    pub(crate) fn single_attempt(&self, timeout: Duration) -> Self {
        let (transport, retry) = (Arc::clone(&self.inner.transport), RetryPolicy::none());
        Self { inner: Arc::new(ClientInner { transport, timeout, retry }) }
    }

    /// The timeout of each attempt.
    pub(crate) fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// The index of the base URL in use. If it is the same before and after a request, the answer came from
    /// that URL.
    pub(crate) fn base_url_index(&self) -> usize {
        self.inner.transport.urls.current_index()
    }

    /// Uses the next base URL from now on, unless a failover from `index` has already happened.
    pub(crate) fn fail_over(&self, index: usize) {
        self.inner.transport.urls.fail_over(index);
    }

    pub(crate) fn first_url(&self) -> &ServerUrl {
        self.inner.transport.urls.first()
    }

    fn get_request(&self, url: Url) -> RequestBuilder {
        self.inner.transport.request(Method::GET, url)
    }

    pub(crate) fn post(&self, route: &str) -> RequestBuilder {
        self.inner.transport.request(Method::POST, self.first_url().join(route))
    }

    pub(crate) fn put(&self, url: Url) -> RequestBuilder {
        self.inner.transport.request(Method::PUT, url)
    }

    /// Sends a request that is answered at once. An answer that `read` rejects counts as no answer.
    pub(crate) async fn send<T>(
        &self,
        request: RequestBuilder,
        repeat: Repeat,
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.perform(request, repeat, None, read).await
    }

    /// Sends a request that may always be repeated, and whose answer the server may delay by `block_for`.
    pub(crate) async fn send_and_wait<T>(
        &self,
        request: RequestBuilder,
        block_for: Duration,
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.perform(request, Repeat::Always, Some(block_for), read).await
    }

    async fn perform<T>(
        &self,
        request: RequestBuilder,
        repeat: Repeat,
        block_for: Option<Duration>,
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let request = request.build().map_err(Error::unmakeable)?;
        let ClientInner { transport, timeout, retry } = &*self.inner;
        let attempt = async |left: Duration| {
            let mut attempt = request.try_clone().expect("a body of JSON can be cloned");
            if block_for.is_some() {
                let wait = LockRequest { block_for: Some(left), ..LockRequest::default() };
                append_query(attempt.url_mut(), &wait);
            }
            let timeout = timeout.saturating_add(left);
            transport.send(attempt, timeout, &read).await.map_err(FailedAttempt::from)
        };
        let block_for = block_for.unwrap_or_default();
        let plan = Plan { policy: *retry, repeat, block_for };
        let (method, path) = (request.method(), request.url().path());
        let span = debug_span!(target: "throttle::client", "request", %method, path);
        plan.run(attempt).instrument(span).await
    }
}

/// Omits the headers, which may be secret.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("urls", &self.urls())
            .field("timeout", &self.inner.timeout)
            .field("retry", &self.inner.retry)
            .finish_non_exhaustive()
    }
}
