//! What goes around every handler: refusals take the form that the client reads, requests are
//! counted and told to the log, and a handler that panics is answered for.

use std::{any::Any, borrow::Cow, panic::AssertUnwindSafe};

use axum::{
    http::{Method, request::Parts},
    response::Response,
};
use futures_util::FutureExt as _;
use throttle_runtime::Time;
use throttle_wire::{Code, PROBLEM_JSON};
use tracing::{Level, debug, enabled, error};

use crate::{
    accept_header,
    api::Api,
    metrics::RequestGroup,
    refusal::Refusal,
    worker_routes::{Captures, Path, Route},
};

/// A request, as far as it matters for its answer.
pub(crate) struct RequestInfo<'a> {
    api: &'a Api,
    route: Route,
    method: Method,
    reads_problems: bool,
    /// What it is about and when it came, if somebody counts.
    begun: Option<(RequestGroup, Time)>,
    /// Peer and semaphore, if somebody wants to read them in the log.
    about: Option<(String, String)>,
}

/// The answer of a handler.
pub(crate) async fn observed(
    info: RequestInfo<'_>,
    handler: impl Future<Output = Result<Response, Refusal>>,
) -> Response {
    let outcome = AssertUnwindSafe(handler).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|panic| Err(broken(&*panic)));
    let code = outcome.as_ref().err().map(Refusal::code);
    let response = outcome.unwrap_or_else(|refusal| {
        refusal.into_response(info.reads_problems, info.api.handle.uptime())
    });
    info.close(&response, code);
    response
}

impl<'a> RequestInfo<'a> {
    pub(crate) fn new(api: &'a Api, route: Route, head: &Parts, captures: &Captures) -> Self {
        let method = head.method.clone();
        let about = enabled!(target: "throttle::http", Level::DEBUG).then(|| {
            let path = Path { text: head.uri.path(), captures };
            // The question whether a lock is acquired is about no semaphore of that name.
            let asks = route == Route::IsAcquired && [Method::GET, Method::HEAD].contains(&method);
            let name = if asks { Cow::default() } else { path.name().unwrap_or_default() };
            (path.id().unwrap_or_default().into_owned(), name.into_owned())
        });
        let reads_problems = accept_header::prefers(&head.headers, PROBLEM_JSON);
        let begun = api.metrics.as_ref();
        let begun = begun.map(|it| (RequestGroup::of(route, &method, &head.uri), it.now()));
        Self { api, route, method, reads_problems, begun, about }
    }

    fn close(&self, response: &Response, code: Option<Code>) {
        let (method, status) = (&self.method, response.status());
        if let Some(metrics) = &self.api.metrics {
            metrics.count(self.begun, (self.route, method.as_str()), status, code);
        }
        let Some((peer, semaphore)) = &self.about else { return };
        debug!(
            target: "throttle::http",
            %method,
            route = self.route.name(),
            peer = Some(&**peer).filter(|peer| !peer.is_empty()),
            semaphore = Some(&**semaphore).filter(|semaphore| !semaphore.is_empty()),
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
