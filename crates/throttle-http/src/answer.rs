//! Answers that are complete: a few bytes and what they are.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

/// A word of plain text.
pub(crate) fn text(text: &'static str) -> Response {
    with(StatusCode::OK, TEXT, Bytes::from_static(text.as_bytes()))
}

/// A value as JSON.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> Response {
    json_with(StatusCode::OK, value)
}

/// A value as JSON, with a status that says more than that all is well.
pub(crate) fn json_with(status: StatusCode, value: &(impl Serialize + ?Sized)) -> Response {
    // As long as most of them are, so that it need not grow.
    let mut bytes = Vec::with_capacity(160);
    serde_json::to_writer(&mut bytes, value).expect("all keys are strings, and memory takes it");
    with(status, "application/json", bytes.into())
}

/// Some bytes of a media type.
pub(crate) fn with(status: StatusCode, media_type: &'static str, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

/// The media type of plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
