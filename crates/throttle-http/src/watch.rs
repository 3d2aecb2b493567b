//! What goes around every handler: refusals take the form that the client reads, requests are
//! counted and told to the log, and a handler that panics is answered for.

use std::{any::Any, panic::AssertUnwindSafe};

use axum::{http::request::Parts, response::Response};
use futures_util::FutureExt as _;
use throttle_wire::{Code, PROBLEM_JSON};
use tracing::{Level, debug, enabled, error};

use crate::{
    accept,
    api::Api,
    refusal::Refusal,
    routes::{Captures, Route},
};

/// A request, as far as it matters for its answer.
pub(crate) struct Case<'a> {
    pub(crate) api: &'a Api,
    pub(crate) head: &'a Parts,
    pub(crate) route: Route,
    pub(crate) captures: Captures<'a>,
}

/// The answer of a handler.
pub(crate) async fn watched(
    case: Case<'_>,
    handler: impl Future<Output = Result<Response, Refusal>>,
) -> Response {
    let outcome = AssertUnwindSafe(handler).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|panic| Err(broken(&*panic)));
    let code = outcome.as_ref().err().map(Refusal::code);
    let response = outcome.unwrap_or_else(|refusal| {
        refusal.into_response(accept::prefers(&case.head.headers, PROBLEM_JSON))
    });
    case.close(&response, code);
    response
}

impl Case<'_> {
    fn close(&self, response: &Response, code: Option<Code>) {
        let (method, status) = (&self.head.method, response.status());
        if let Some(metrics) = &self.api.metrics {
            metrics.count(self.route, method, status, code);
        }
        if !enabled!(target: "throttle::http", Level::DEBUG) {
            return;
        }
        let (peer, semaphore) = (self.captures.id(), self.captures.name());
        debug!(
            target: "throttle::http",
            %method,
            route = self.route.name(),
            peer = peer.as_deref().ok().filter(|peer| !peer.is_empty()),
            semaphore = semaphore.as_deref().ok().filter(|semaphore| !semaphore.is_empty()),
            status = status.as_u16(),
            code = code.map(Code::as_str),
            "answered",
        );
    }
}

/// The refusal for a handler that panicked.
fn broken(panic: &(dyn Any + Send)) -> Refusal {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    error!(target: "throttle::http", message, "a handler panicked");
    Refusal::internal()
}
