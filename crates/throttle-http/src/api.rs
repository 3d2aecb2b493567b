//! The builder of the routes, which is then the state that all handlers share.

use std::{fmt, sync::Arc};

use axum::body::Body;
use futures_util::future::BoxFuture;
use throttle_runtime::Handle;
use throttle_wire::Reloaded;
use tokio::sync::Semaphore;

use crate::{Metrics, RequestLimits};

/// Builds the routes of a [`Handle`].
///
/// ```
/// # use std::{collections::BTreeMap, time::Duration};
/// # use throttle_runtime::{Handle, Settings};
/// use throttle_http::{Api, RequestLimits};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let handle = Handle::start(Settings::default(), &BTreeMap::new());
/// let limits = RequestLimits { block_for: Duration::from_secs(60), ..RequestLimits::default() };
/// let routes = Api::new(handle).limits(limits).routes();
/// # let _: axum::Router = routes;
/// # }
/// ```
#[derive(Clone)]
pub struct Api {
    pub(crate) handle: Handle,
    pub(crate) limits: RequestLimits,
    /// One permit for each further listing that is allowed.
    pub(crate) listings: Arc<Semaphore>,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) reload: Option<Reload>,
    pub(crate) store_export: Option<StoreExport>,
}

/// The hook that `POST /admin/reload` calls.
pub(crate) type Reload =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Reloaded, String>> + Send + Sync>;

/// The hook that `GET /admin/store/export` calls.
pub(crate) type StoreExport =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Body, String>> + Send + Sync>;

impl Api {
    /// Routes over `handle` with the default [`RequestLimits`], without metrics and without reload.
    pub fn new(handle: Handle) -> Self {
        let limits = RequestLimits::default();
        let listings = permits(limits);
        Self { handle, limits, listings, metrics: None, reload: None, store_export: None }
    }

    /// Replaces the limits of requests.
    #[must_use]
    pub fn limits(mut self, limits: RequestLimits) -> Self {
        self.limits = limits;
        self.listings = permits(limits);
        self
    }

    /// Adds `GET /metrics`, and counts requests and refusals.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Adds `POST /admin/reload`, which calls `hook`.
    ///
    /// The hook returns an error if it has changed nothing. The error is a sentence for the operator, who
    /// receives it as 422 `reload_refused`.
    #[must_use]
    pub fn reload<F, A>(mut self, hook: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Reloaded, String>> + Send + 'static,
    {
        self.reload = Some(Arc::new(move || Box::pin(hook())));
        self
    }

    /// Adds `GET /admin/store/export`, whose body comes from `hook`.
    ///
    /// The body has all records of a durable store as lines of JSON. It should end with an error if it cannot be
    /// completed, so that the client does not take it for whole. The hook returns an error, a sentence for the
    /// operator, if there is no such body; the request is then answered 503 `store_failed`.
    #[must_use]
    pub fn store_export<F, A>(mut self, hook: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Body, String>> + Send + 'static,
    {
        self.store_export = Some(Arc::new(move || Box::pin(hook())));
        self
    }
}

fn permits(limits: RequestLimits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits.listings.min(Semaphore::MAX_PERMITS)))
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("handle", &self.handle)
            .field("limits", &self.limits)
            .field("metrics", &self.metrics)
            .field("reload", &self.reload.is_some())
            .field("store_export", &self.store_export.is_some())
            .finish()
    }
}
