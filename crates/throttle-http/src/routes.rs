//! The table: which paths there are, and who handles what.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    handler::Handler,
    routing::{MethodFilter, MethodRouter},
};

use crate::{api::Api, locks, peers, semaphores, service, watch::Watched};

/// A route, whatever the path that led to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Favicon,
    Health,
    Index,
    IsAcquired,
    Lock,
    Metrics,
    NewPeer,
    Peer,
    Peers,
    Ready,
    Reload,
    Remainder,
    Restore,
    Semaphore,
    Semaphores,
    /// Where all paths lead that lead nowhere else.
    Unknown,
    Version,
}

impl Route {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Version as usize + 1;

    /// What the route is called in metrics and logs, and the paths that lead to it.
    const fn paths(self) -> (&'static str, &'static [&'static str]) {
        let paths: &[&str] = match self {
            Self::Favicon => &["/favicon.ico"],
            Self::Health => &["/health"],
            Self::Index => &["/"],
            Self::IsAcquired => &["/peers/{id}/is_acquired", "/peer/{id}/is_acquired"],
            Self::Lock => &["/peers/{id}/{semaphore}", "/peer/{id}/{semaphore}"],
            Self::Metrics => &["/metrics"],
            Self::NewPeer => &["/new_peer"],
            Self::Peer => &["/peers/{id}", "/peer/{id}"],
            Self::Peers => &["/peers", "/peers/", "/peer", "/peer/"],
            Self::Ready => &["/ready"],
            Self::Reload => &["/admin/reload"],
            Self::Remainder => &["/remainder"],
            Self::Restore => &["/restore"],
            Self::Semaphore => &["/semaphores/{name}"],
            Self::Semaphores => &["/semaphores", "/semaphores/"],
            Self::Unknown => return ("unknown", &[]),
            Self::Version => &["/version"],
        };
        (paths[0], paths)
    }

    pub(crate) const fn name(self) -> &'static str {
        self.paths().0
    }
}

/// A route with a handler for each of its methods.
struct Row {
    route: Route,
    methods: MethodRouter<Arc<Api>>,
}

impl Row {
    fn new(route: Route) -> Self {
        let methods = MethodRouter::new();
        Self { route, methods: methods.fallback(Watched::new(route, service::wrong_method)) }
    }

    fn on<H, T>(mut self, method: MethodFilter, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        H::Future: Unpin,
        T: 'static,
    {
        self.methods = self.methods.on(method, Watched::new(self.route, handler));
        self
    }

    fn add_to(self, router: Router<Arc<Api>>) -> Router<Arc<Api>> {
        let (_, paths) = self.route.paths();
        paths.iter().fold(router, |router, path| router.route(path, self.methods.clone()))
    }
}

/// All routes of `api`.
pub(crate) fn table(api: Arc<Api>) -> Router {
    use MethodFilter as On;

    let mut rows = vec![
        Row::new(Route::Favicon).on(On::GET, service::favicon),
        Row::new(Route::Health).on(On::GET, service::health),
        Row::new(Route::Index).on(On::GET, service::index),
        // A semaphore may be called so too.
        Row::new(Route::IsAcquired)
            .on(On::GET, peers::is_acquired)
            .on(On::PUT, locks::acquire)
            .on(On::DELETE, locks::release),
        Row::new(Route::Lock).on(On::PUT, locks::acquire).on(On::DELETE, locks::release),
        Row::new(Route::NewPeer).on(On::POST, peers::new_peer),
        Row::new(Route::Peer)
            .on(On::GET, peers::show)
            .on(On::PUT, peers::heartbeat)
            .on(On::DELETE, peers::remove),
        Row::new(Route::Peers).on(On::GET, peers::list),
        Row::new(Route::Ready).on(On::GET, service::ready),
        Row::new(Route::Remainder).on(On::GET, semaphores::remainder),
        Row::new(Route::Restore).on(On::POST, peers::restore),
        Row::new(Route::Semaphore).on(On::GET, semaphores::show),
        Row::new(Route::Semaphores).on(On::GET, semaphores::list),
        Row::new(Route::Version).on(On::GET, service::version),
    ];
    if let Some(metrics) = api.metrics.clone() {
        let scrape = |State(api): State<Arc<Api>>| service::metrics(api, metrics);
        rows.push(Row::new(Route::Metrics).on(On::GET, scrape));
    }
    if let Some(hook) = api.reload.clone() {
        rows.push(Row::new(Route::Reload).on(On::POST, || service::reload(hook)));
    }
    let router = rows.into_iter().fold(Router::new(), |router, row| row.add_to(router));
    router.fallback(Watched::new(Route::Unknown, service::unknown_route)).with_state(api)
}
