//! Around every handler: refusals are written in the form that the client reads, requests are counted and
//! logged, and a panic of a handler becomes an answer.

use std::{any::Any, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use axum::{
    http::{Method, request::Parts},
    response::Response,
};
use futures_util::FutureExt as _;
use throttle_runtime::{Failure, Time};
use throttle_wire::{Code, PROBLEM_JSON};
use tracing::{Level, debug, enabled, error};

use crate::{
    accept_header,
    api::Api,
    malformed_http::Malformed,
    metrics::{RequestGroup, RouteCounters},
    refusal::Refusal,
};

/// What is known of a request before its route.
///
/// Made once for each request, whichever kind of route it takes. The identity of the caller, and later its
/// role, belong here.
#[derive(Clone, Debug)]
pub(crate) struct RequestInfo {
    method: Method,
    prefers_problem: bool,
    /// `Some` if the server found the request malformed. It is refused without being handled.
    malformed: Option<Malformed>,
    /// When the request arrived. `None` if its duration is not measured.
    started: Option<Time>,
}

/// A route, as metrics and logs know it.
#[derive(Clone, Debug)]
pub(crate) struct ObservedRoute {
    pub(crate) name: &'static str,
    /// `None` without metrics.
    counters: Option<Arc<RouteCounters>>,
}

/// How a request appears in metrics and logs.
#[derive(Debug)]
pub(crate) struct Labels<'a> {
    pub(crate) route: &'a ObservedRoute,
    pub(crate) group: RequestGroup,
    /// `None` if requests are not logged.
    pub(crate) fields: Option<LogFields>,
}

/// The peer and the semaphore of a request, for the log. Empty if the request has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogFields {
    pub(crate) peer: String,
    pub(crate) semaphore: String,
}

impl RequestInfo {
    pub(crate) fn new(api: &Api, head: &Parts, malformed: Option<Malformed>) -> Self {
        let metrics = api.metrics.as_ref().filter(|_| malformed.is_none());
        Self {
            method: head.method.clone(),
            prefers_problem: accept_header::prefers(&head.headers, PROBLEM_JSON),
            malformed,
            started: metrics.map(|metrics| metrics.now()),
        }
    }

    /// The info of a malformed request whose head could not be read.
    pub(crate) fn unreadable(malformed: Malformed) -> Self {
        // A method that metrics count as `other`.
        let method = Method::from_bytes(b"-").expect("a dash is a valid method");
        Self { method, prefers_problem: false, malformed: Some(malformed), started: None }
    }
}

impl ObservedRoute {
    pub(crate) fn new(api: &Api, name: &'static str) -> Self {
        let counters = api.metrics.as_ref().map(|metrics| Arc::new(metrics.route_counters(name)));
        Self { name, counters }
    }

    /// All paths that have no route.
    pub(crate) fn unknown(api: &Api) -> Self {
        Self::new(api, "unknown")
    }
}

impl LogFields {
    /// Calls `make` if requests are logged.
    pub(crate) fn if_logged(make: impl FnOnce() -> Self) -> Option<Self> {
        enabled!(target: "throttle::http", Level::DEBUG).then(make)
    }
}

/// Runs a handler and makes its outcome an answer.
///
/// The handler is pinned by the caller, because a future that is passed by value is copied, and its room is
/// reserved twice.
pub(crate) async fn observed(
    api: &Api,
    info: &RequestInfo,
    labels: Labels<'_>,
    handler: Pin<&mut impl Future<Output = Result<Response, Refusal>>>,
) -> Response {
    let outcome = match info.malformed {
        Some(malformed) => Err(malformed.refusal()),
        None => {
            let outcome = AssertUnwindSafe(handler).catch_unwind().await;
            outcome.unwrap_or_else(|panic| Err(panicked(api, &*panic)))
        }
    };
    let code = outcome.as_ref().err().map(Refusal::code);
    let response =
        outcome.unwrap_or_else(|refusal| refusal.write(info.prefers_problem, &api.handle));
    let status = response.status();
    let Labels { route, group, fields } = labels;
    if let (Some(metrics), Some(counters)) = (&api.metrics, &route.counters) {
        metrics.count(counters, (group, info.method.as_str(), info.started), status, code);
    }
    if let Some(fields) = fields.filter(|_| info.malformed.is_none()) {
        debug!(
            target: "throttle::http",
            method = %info.method,
            route = route.name,
            peer = Some(&*fields.peer).filter(|peer| !peer.is_empty()),
            semaphore = Some(&*fields.semaphore).filter(|semaphore| !semaphore.is_empty()),
            status = status.as_u16(),
            code = code.map(Code::as_str),
            "answered",
        );
    }
    response
}

/// The refusal for a handler that panicked.
fn panicked(api: &Api, panic: &(dyn Any + Send)) -> Refusal {
    // Operations that return no error panic when the store has failed. That is no defect.
    if let Some(failure @ Failure::Store) = api.handle.failure() {
        return Refusal::failed(failure);
    }
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    error!(target: "throttle::http", message, "a handler panicked");
    Refusal::internal()
}
