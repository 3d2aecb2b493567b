//! What goes around every handler: refusals take the form that the client reads, requests are
//! counted and told to the log, and a handler that panics is answered for.
//!
//! It wraps the handler itself rather than the route, so it costs no allocation.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    extract::{FromRequestParts as _, Request},
    handler::Handler,
    http::Method,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use throttle_wire::{Code, PROBLEM_JSON};
use tracing::{Level, debug, enabled, error};

use crate::{accept, api::Api, extract::Captures, refusal::Refusal, routes::Route};

/// A handler that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched<H> {
    route: Route,
    handler: H,
}

impl<H> Watched<H> {
    pub(crate) fn new(route: Route, handler: H) -> Self {
        Self { route, handler }
    }
}

impl<H, T> Handler<T, Arc<Api>> for Watched<H>
where
    H: Handler<T, Arc<Api>>,
    H::Future: Unpin,
{
    type Future = Watching<H::Future>;

    fn call(self, request: Request, api: Arc<Api>) -> Self::Future {
        let (request, captures) = captures(request);
        let case = Case {
            route: self.route,
            method: request.method().clone(),
            reads_problems: accept::prefers(request.headers(), PROBLEM_JSON),
            captures,
            api: Arc::clone(&api),
        };
        Watching { case, answer: self.handler.call(request, api) }
    }
}

/// An answer on its way.
pub(crate) struct Watching<F> {
    case: Case,
    answer: F,
}

impl<F: Future<Output = Response> + Unpin> Future for Watching<F> {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        let answer = &mut self.answer;
        let polled = catch_unwind(AssertUnwindSafe(|| answer.poll_unpin(context)));
        let response = ready!(polled.unwrap_or_else(|panic| Poll::Ready(broken(&*panic))));
        Poll::Ready(self.case.close(response))
    }
}

/// A request, as far as it matters for its answer.
struct Case {
    route: Route,
    method: Method,
    reads_problems: bool,
    /// For the log alone.
    captures: Option<Captures>,
    api: Arc<Api>,
}

impl Case {
    fn close(&self, mut response: Response) -> Response {
        let refusal = response.extensions_mut().remove::<Refusal>();
        let (status, code) = (response.status(), refusal.as_ref().map(Refusal::code));
        if let Some(metrics) = &self.api.metrics {
            metrics.count(self.route, &self.method, status, code);
        }
        debug!(
            target: "throttle::http",
            method = %self.method,
            route = self.route.name(),
            peer = self.capture("id"),
            semaphore = self.capture("semaphore").or_else(|| self.capture("name")),
            status = status.as_u16(),
            code = code.map(Code::as_str),
            "answered",
        );
        match refusal {
            Some(refusal) if self.reads_problems => refusal.into_problem(),
            _ => response,
        }
    }

    fn capture(&self, name: &str) -> Option<&str> {
        self.captures.as_ref().and_then(|captures| captures.get(name))
    }
}

/// Looks at what the path says if somebody wants to read it in the log.
fn captures(request: Request) -> (Request, Option<Captures>) {
    if !enabled!(target: "throttle::http", Level::DEBUG) {
        return (request, None);
    }
    let (mut parts, body) = request.into_parts();
    let captures = Captures::from_request_parts(&mut parts, &()).now_or_never();
    (Request::from_parts(parts, body), captures.and_then(Result::ok))
}

/// The answer for a handler that panicked.
fn broken(panic: &(dyn Any + Send)) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    error!(target: "throttle::http", message, "a handler panicked");
    Refusal::internal().into_response()
}
