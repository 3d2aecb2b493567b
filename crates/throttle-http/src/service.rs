//! The service itself: is it there, what is it, how is it doing; and what is not there.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{OriginalUri, State},
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
use throttle_wire::{Code, Reloaded};

use crate::{
    Metrics, accept,
    api::{Api, Reload},
    page,
    refusal::Refusal,
};

/// `GET /`: a greeting, and a page for a browser.
pub(crate) async fn index(
    State(api): State<Arc<Api>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let vary = [(header::VARY, "accept")];
    if !accept::prefers(&headers, "text/html") {
        return (vary, "Hello from Throttle!").into_response();
    }
    let html = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'",
        ),
    ];
    (vary, html, page::render(&api.handle, uri.path())).into_response()
}

/// `GET /health`: there is somebody.
pub(crate) async fn health() -> &'static str {
    "Ok"
}

/// `GET /ready`: whether it makes sense to send work here.
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Result<&'static str, Refusal> {
    if api.handle.is_draining() {
        return Err(Refusal::new(Code::NotReady, "The server is shutting down."));
    }
    Ok("Ready")
}

/// `GET /version`
pub(crate) async fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// `GET /metrics`, in the text format of Prometheus.
pub(crate) async fn metrics(
    api: Arc<Api>,
    metrics: Metrics,
) -> ([(HeaderName, &'static str); 1], String) {
    let text_format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (text_format, metrics.scrape(&api.handle))
}

/// `GET /favicon.ico`
pub(crate) async fn favicon() -> impl IntoResponse {
    const ICON: &[u8] = include_bytes!("favicon.ico");
    let headers =
        [(header::CONTENT_TYPE, "image/x-icon"), (header::CACHE_CONTROL, "max-age=86400")];
    (headers, ICON)
}

/// `POST /admin/reload`: lets the embedder read its configuration anew.
pub(crate) async fn reload(hook: Reload) -> Result<Answer<Reloaded>, Refusal> {
    hook().await.map(Answer).map_err(|reason| Refusal::new(Code::ReloadRefused, reason))
}

/// Any path that leads nowhere.
pub(crate) async fn unknown_route() -> Refusal {
    Refusal::new(Code::UnknownRoute, "There is nothing at this path.")
}

/// A method that a route has no handler for. The header `Allow` says which it has.
pub(crate) async fn wrong_method() -> Refusal {
    Refusal::new(
        Code::MethodNotAllowed,
        "This path does not take this method. The header `Allow` lists those that it takes.",
    )
}
