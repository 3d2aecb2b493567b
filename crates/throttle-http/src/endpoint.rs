//! Where requests come in and answers go out: each request is led to its handler.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, Method, Request, header},
    response::Response,
    routing::any,
};

use crate::{
    api::Api,
    locks,
    observed::{self, RequestInfo},
    peers,
    refusal::Refusal,
    semaphores, service,
    worker_request::{Content, WorkerRequest},
    worker_routes::{Captures, Route},
};

/// All routes of an [`Api`] as one function from a request to its answer.
///
/// Cheap to clone. It works on the types of the `http` crate with any body, so a server can request it
/// for what it has read from a socket without a detour; [`Endpoint::into_router`] makes routes of it
/// for an application on axum.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Api>);

/// What a request wants, as far as handlers tell methods apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Delete,
    /// Also if only the head of the answer is wanted.
    Get,
    Post,
    Put,
    Other,
}

impl Endpoint {
    pub(crate) fn new(api: Api) -> Self {
        Self(Arc::new(api))
    }

    pub(crate) fn api(&self) -> &Api {
        &self.0
    }

    /// Answers a request. One for the head alone is answered in full: to leave out the body is up to
    /// the server, as hyper and axum do.
    ///
    /// The future of an acquire that waits must be dropped as soon as its connection breaks: that is
    /// how a waiter whose client is gone is passed over.
    pub fn answer<B>(&self, request: Request<B>) -> impl Future<Output = Response> + Send + use<B>
    where
        B: HttpBody<Data = Bytes> + Send,
    {
        let api = Arc::clone(&self.0);
        async move {
            let (head, body) = request.into_parts();
            let head = Box::new(head);
            let (route, captures) = api.find(head.uri.path());
            let info = RequestInfo::new(&api, route, &head, &captures);
            let request = WorkerRequest { api: &api, head, captures, body };
            let mut response = observed::observed(info, handle(route, request)).await;
            if response.status() == 405 {
                let allow = HeaderValue::from_static(route.allowed());
                response.headers_mut().insert(header::ALLOW, allow);
            }
            response
        }
    }

    /// The same as a router, to be served alone or nested below any path of an application.
    pub fn into_router(self) -> Router {
        let handler = any(move |request: Request<Body>| self.answer(request));
        // The fallback alone would suffice, but an application's own wildcards would come before it.
        Router::new()
            .route("/", handler.clone())
            .route("/{*path}", handler.clone())
            .fallback_service(handler.with_state(()))
    }
}

impl Api {
    /// Where a path leads, as far as this API has the route.
    fn find(&self, path: &str) -> (Route, Captures) {
        let (route, captures) = Route::find(path);
        let is_there = match route {
            Route::Metrics => self.metrics.is_some(),
            Route::Reload => self.reload.is_some(),
            _ => true,
        };
        (if is_there { route } else { Route::Unknown }, captures)
    }
}

/// Leads a request to its handler.
async fn handle(
    route: Route,
    request: WorkerRequest<'_, impl Content>,
) -> Result<Response, Refusal> {
    use Verb::{Delete, Get, Post, Put};

    let api = request.api;
    match (route, Verb::of(&request.head.method)) {
        (Route::Favicon, Get) => Ok(service::favicon()),
        (Route::Health, Get) => service::health(api),
        (Route::Index, Get) => service::index(request).await,
        (Route::IsAcquired, Get) => peers::is_acquired(request).await,
        (Route::Lock | Route::IsAcquired, Put) => locks::acquire(request).await,
        (Route::Lock | Route::IsAcquired, Delete) => locks::release(request).await,
        (Route::Metrics, Get) => match &api.metrics {
            Some(metrics) => service::metrics(api, metrics).await,
            None => Err(service::unknown_route()),
        },
        (Route::NewPeer, Post) => peers::new_peer(request).await,
        (Route::Peer, Get) => peers::show(request).await,
        (Route::Peer, Put) => peers::heartbeat(request).await,
        (Route::Peer, Delete) => peers::remove(request).await,
        (Route::Peers, Get) => peers::list(request).await,
        (Route::Ready, Get) => service::ready(api),
        (Route::Reload, Post) => match &api.reload {
            Some(hook) => service::reload(&request.head, hook).await,
            None => Err(service::unknown_route()),
        },
        (Route::Remainder, Get) => semaphores::remainder(request).await,
        (Route::Restore, Post) => peers::restore(request).await,
        (Route::Semaphore, Get) => semaphores::show(request).await,
        (Route::Semaphores, Get) => semaphores::list(request).await,
        (Route::Version, Get) => Ok(service::version()),
        (Route::Unknown, _) => Err(service::unknown_route()),
        _ => Err(service::wrong_method()),
    }
}

impl Verb {
    fn of(method: &Method) -> Self {
        match *method {
            Method::DELETE => Self::Delete,
            Method::GET | Method::HEAD => Self::Get,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            _ => Self::Other,
        }
    }
}
