//! The service itself: is it there, what is it, how is it doing; and what is not there.

use axum::{
    body::Bytes,
    extract::OriginalUri,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use throttle_wire::Code;

use crate::{
    Metrics, accept_header, answer,
    api::{Api, Reload},
    listing, origin, page,
    refusal::Refusal,
    worker_request::{Content, WorkerRequest},
};

/// `GET /`: a greeting, and a page for a browser.
pub(crate) async fn index(request: WorkerRequest<'_, impl Content>) -> Result<Response, Refusal> {
    let mut response = if accept_header::prefers(&request.head.headers, "text/html") {
        browse(request.api, &request.head).await?
    } else {
        answer::text("Hello from Throttle!")
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn browse(api: &Api, head: &Parts) -> Result<Response, Refusal> {
    // An application that nests us keeps the whole of the path there.
    let nested = head.extensions.get::<OriginalUri>();
    let path = nested.map_or(&head.uri, |OriginalUri(uri)| uri).path();
    let page = page::render(&api.handle, path).await;
    let mut response = listing::answer(api, "text/html; charset=utf-8", page).await?;
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; img-src 'self'"),
    );
    Ok(response)
}

/// `GET /health`: there is somebody, in good health.
pub(crate) fn health(api: &Api) -> Result<Response, Refusal> {
    check(api)?;
    Ok(answer::text("Ok"))
}

/// `GET /ready`: whether it makes sense to send work here.
pub(crate) fn ready(api: &Api) -> Result<Response, Refusal> {
    check(api)?;
    if api.handle.is_draining() {
        return Err(Refusal::new(Code::NotReady, "The server is shutting down."));
    }
    Ok(answer::text("Ready"))
}

/// A service that is broken is no service.
fn check(api: &Api) -> Result<(), Refusal> {
    api.handle.failure().map_or(Ok(()), |_| Err(Refusal::failed()))
}

/// `GET /version`
pub(crate) fn version() -> Response {
    answer::text(env!("CARGO_PKG_VERSION"))
}

/// `GET /metrics`, in the text format of Prometheus.
pub(crate) async fn metrics(api: &Api, metrics: &Metrics) -> Result<Response, Refusal> {
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
pub(crate) fn favicon() -> Response {
    const ICON: &[u8] = include_bytes!("favicon.ico");
    let mut icon = answer::with(StatusCode::OK, "image/x-icon", Bytes::from_static(ICON));
    let cached = HeaderValue::from_static("max-age=86400");
    icon.headers_mut().insert(header::CACHE_CONTROL, cached);
    icon
}

/// `POST /admin/reload`: lets the embedder read its configuration anew.
///
/// It needs no body, so that nothing else keeps pages of others from asking for it.
pub(crate) async fn reload(head: &Parts, hook: &Reload) -> Result<Response, Refusal> {
    if origin::is_foreign(head) {
        let detail = "A page of another origin must not reload the configuration.";
        return Err(Refusal::new(Code::ForeignOrigin, detail));
    }
    let reloaded = hook().await.map_err(|reason| Refusal::new(Code::ReloadRefused, reason))?;
    Ok(answer::json(&reloaded))
}

/// Any path that leads nowhere.
pub(crate) fn unknown_route() -> Refusal {
    Refusal::new(Code::UnknownRoute, "There is nothing at this path.")
}

/// A method that a route has no handler for. The header `Allow` says which it has.
pub(crate) fn wrong_method() -> Refusal {
    Refusal::new(
        Code::MethodNotAllowed,
        "This path does not take this method. The header `Allow` lists those that it takes.",
    )
}
