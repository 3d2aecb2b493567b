//! The entry of all requests, and the choice between the two kinds of routes.

use std::{
    convert::Infallible,
    future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    http::{Method, Request, header, request::Parts},
    response::Response,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use tower::{Service, ServiceExt as _};

use crate::{
    api::Api,
    malformed::Malformed,
    metrics::RequestGroup,
    observed::{Labels, LogFields, ObservedRoute, RequestInfo, observed},
    operator_routes, percent,
    worker_request::{Captures, WorkerRequest},
    worker_routes::{self, WorkerRoute},
};

/// All routes of an [`Api`] as one function from a request to its answer.
///
/// Cheap to clone. A server calls [`Endpoint::answer`] with any type of body. As a [`Service`] it takes layers of
/// tower and tower-http, at the price of a boxed future for each request. [`Endpoint::into_router`] makes a router
/// of it for an axum application.
///
/// ```
/// # use std::collections::BTreeMap;
/// use axum::{body::Body, http::{HeaderValue, Request}, response::Response};
/// # use throttle_runtime::{Handle, Settings};
/// use throttle_http::Api;
/// use tower::{Layer, ServiceExt, util::MapResponseLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let handle = Handle::start(Settings::default(), &BTreeMap::new());
/// let name_server = MapResponseLayer::new(|mut response: Response| {
///     response.headers_mut().insert("server", HeaderValue::from_static("throttle"));
///     response
/// });
/// let service = name_server.layer(Api::new(handle).endpoint());
/// let request = Request::get("/health").body(Body::empty()).unwrap();
/// let response = service.oneshot(request).await.unwrap();
/// assert_eq!(response.headers()["server"], "throttle");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Routes>);

#[derive(Debug)]
struct Routes {
    api: Arc<Api>,
    /// Indexed by [`WorkerRoute`].
    worker_routes: Vec<ObservedRoute>,
    operator_routes: Router,
    unknown: ObservedRoute,
}

impl Api {
    /// The routes. They can be nested below any path of another application.
    pub fn routes(self) -> Router {
        self.endpoint().into_router()
    }

    /// The routes as one function, for a server that serves nothing else.
    pub fn endpoint(self) -> Endpoint {
        let api = Arc::new(self);
        let observed = |route: &WorkerRoute| ObservedRoute::new(&api, route.name());
        Endpoint(Arc::new(Routes {
            worker_routes: WorkerRoute::ALL.iter().map(observed).collect(),
            operator_routes: operator_routes::router(&api),
            unknown: ObservedRoute::unknown(&api),
            api,
        }))
    }
}

impl Endpoint {
    /// Answers a request. The answer to `HEAD` may have a body, which the server must leave out, as hyper
    /// and axum do.
    ///
    /// The future of an acquire that waits must be dropped as soon as its connection breaks: that is
    /// how a waiter whose client is gone is passed over.
    // Inlined, so that the future is made where it stays: it is large to copy.
    #[inline]
    pub fn answer<B>(&self, request: Request<B>) -> impl Future<Output = Response> + Send + use<B>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        Arc::clone(&self.0).answer(Box::new(head), body, None)
    }

    /// Counts a request that the server found malformed, and returns the answer. The `head`, if it could be
    /// parsed, determines the form of the answer.
    pub fn refuse(
        &self,
        malformed: Malformed,
        head: Option<Parts>,
    ) -> impl Future<Output = Response> + Send + use<> {
        let routes = Arc::clone(&self.0);
        async move {
            match head {
                Some(head) => routes.answer(Box::new(head), Body::empty(), Some(malformed)).await,
                None => {
                    let info = RequestInfo::unreadable(malformed);
                    let (route, group) = (&routes.unknown, RequestGroup::Operate);
                    let labels = Labels { route, group, fields: None };
                    observed(&routes.api, &info, labels, pin!(future::pending())).await
                }
            }
        }
    }

    /// The same as a router, to be served alone or nested below any path of an application.
    pub fn into_router(self) -> Router {
        // The fallback alone is not enough: wildcards of the application would come before it.
        Router::new()
            .route_service("/", self.clone())
            .route_service("/{*path}", self.clone())
            .fallback_service(self)
    }
}

impl<B> Service<Request<B>> for Endpoint
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.answer(request).map(Ok).boxed()
    }
}

impl Routes {
    async fn answer<B>(
        self: Arc<Self>,
        mut head: Box<Parts>,
        body: B,
        malformed: Option<Malformed>,
    ) -> Response
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let api = &*self.api;
        let info = RequestInfo::new(api, &head, malformed);
        // A copy, because handlers that wait drop the head, to free what was read from the socket.
        let path = head.uri.path().to_owned();
        let Some((route, captures)) = WorkerRoute::find(&path) else {
            head.extensions.insert(info);
            let request = Request::from_parts(*head, body);
            // Boxed, so that the futures of workers' requests do not reserve room for it.
            let Ok(mut response) = Box::pin(self.operator_routes.clone().oneshot(request)).await;
            if malformed.is_some() {
                // Added by axum if the path does not take the method, which is not what was refused.
                response.headers_mut().remove(header::ALLOW);
            }
            return response;
        };
        let labels = Labels {
            route: &self.worker_routes[route as usize],
            group: route.group(&head.method, &head.uri),
            fields: LogFields::if_logged(|| log_fields(route, &head.method, captures)),
        };
        let request = WorkerRequest { api, head, captures, body };
        observed(api, &info, labels, pin!(worker_routes::handle(route, request))).await
    }
}

fn log_fields(route: WorkerRoute, method: &Method, captures: Captures<'_>) -> LogFields {
    let decoded = |segment| percent::decode(segment).unwrap_or_default().into_owned();
    // `GET /peers/{id}/is_acquired` is not about a semaphore.
    let is_question =
        route == WorkerRoute::IsAcquired && [Method::GET, Method::HEAD].contains(method);
    let semaphore = if is_question { "" } else { captures.semaphore };
    LogFields { peer: decoded(captures.id), semaphore: decoded(semaphore) }
}
