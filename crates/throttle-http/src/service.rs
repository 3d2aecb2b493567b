//! The service itself: the greeting, its health and version, metrics, and reload.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{OriginalUri, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use throttle_wire::{Code, Readiness};

use crate::{
    Metrics, accept_header, answer,
    api::{Api, Reload, StoreExport},
    listing, origin, page,
    refusal::Refusal,
    view,
};

/// `GET /`: a greeting, or a page for a browser.
pub(crate) async fn index(
    State(api): State<Arc<Api>>,
    // With the prefix of an application that nests us.
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut response = if accept_header::prefers(&headers, "text/html") {
        let page = page::render(&api.handle, uri.path()).await?;
        let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'";
        let page = listing::answer(&api, "text/html; charset=utf-8", page).await?;
        ([(header::CONTENT_SECURITY_POLICY, policy)], page).into_response()
    } else {
        answer::text("Hello from Throttle!")
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// `GET /health`: whether the service works.
pub(crate) async fn health(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    check(&api)?;
    Ok(answer::text("Ok"))
}

/// `GET /ready`: whether new work should be sent here, and whether a grace period is running.
pub(crate) async fn ready(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    check(&api)?;
    if api.handle.is_draining() {
        return Err(Refusal::new(Code::NotReady, "The server is shutting down."));
    }
    let grace_left = view::grace_left(&api.handle);
    let mut response = if accept_header::prefers(&headers, answer::JSON) {
        let grace_left = grace_left.map(view::readable);
        answer::json(&Readiness {
            ready: true,
            grace_left,
            grace_left_seconds: grace_left.map(Into::into),
            durable: api.handle.is_durable(),
        })
    } else {
        match grace_left {
            None => answer::text("Ready"),
            Some(left) => {
                let text = format!("Ready. {}", view::grace_period(left));
                answer::with(StatusCode::OK, answer::TEXT, text.into())
            }
        }
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn check(api: &Api) -> Result<(), Refusal> {
    api.handle.failure().map_or(Ok(()), |failure| Err(Refusal::failed(failure)))
}

/// `GET /version`
pub(crate) async fn version() -> Response {
    answer::text(env!("CARGO_PKG_VERSION"))
}

/// `GET /metrics`, in the text format of Prometheus.
pub(crate) async fn metrics(
    State(api): State<Arc<Api>>,
    Extension(metrics): Extension<Metrics>,
) -> Result<Response, Refusal> {
    let text = metrics.text(&api.handle).await?;
    let length = HeaderValue::from(text.length());
    let mut response = Response::new(text.into_body());
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CONTENT_LENGTH, length);
    Ok(response)
}

/// `GET /favicon.ico`
pub(crate) async fn favicon() -> impl IntoResponse {
    const ICON: &[u8] = include_bytes!("favicon.ico");
    const HEADERS: [(header::HeaderName, &str); 2] =
        [(header::CONTENT_TYPE, "image/x-icon"), (header::CACHE_CONTROL, "max-age=86400")];
    (HEADERS, ICON)
}

/// `POST /admin/reload`: makes the embedder read its configuration again.
///
/// The request has no body, so a page of another origin could send it if nobody checked.
pub(crate) async fn reload(
    Extension(reload): Extension<Reload>,
    head: Parts,
) -> Result<Response, Refusal> {
    if origin::is_foreign(&head) {
        let detail = "A page of another origin must not reload the configuration.";
        return Err(Refusal::new(Code::ForeignOrigin, detail));
    }
    let reloaded = reload().await.map_err(|reason| Refusal::new(Code::ReloadRefused, reason))?;
    Ok(answer::json(&reloaded))
}

/// `GET /admin/store/export`: all records of the durable store, as lines of JSON. It counts as a long listing.
pub(crate) async fn store_export(
    State(api): State<Arc<Api>>,
    Extension(export): Extension<StoreExport>,
    head: Parts,
) -> Result<Response, Refusal> {
    if origin::is_foreign(&head) {
        let detail = "A page of another origin must not read the store.";
        return Err(Refusal::new(Code::ForeignOrigin, detail));
    }
    let permit = listing::permit(&api)?;
    let body = export().await.map_err(|reason| Refusal::new(Code::StoreFailed, reason))?;
    let mut response = Response::new(listing::with_permit(body, permit));
    let media_type = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}
