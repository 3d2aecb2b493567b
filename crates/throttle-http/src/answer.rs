//! Short answers: a status, a media type, and a complete body.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

/// Status 200 and plain text.
pub(crate) fn text(text: &'static str) -> Response {
    with(StatusCode::OK, TEXT, Bytes::from_static(text.as_bytes()))
}

/// Status 200 and a value as JSON.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> Response {
    json_with(StatusCode::OK, value)
}

pub(crate) fn json_with(status: StatusCode, value: &(impl Serialize + ?Sized)) -> Response {
    // Most answers fit, so the buffer rarely grows.
    let mut bytes = Vec::with_capacity(160);
    serde_json::to_writer(&mut bytes, value).expect("all keys are strings");
    with(status, JSON, bytes.into())
}

pub(crate) fn with(status: StatusCode, media_type: &'static str, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

pub(crate) const JSON: &str = "application/json";

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// The length in bytes of the pieces of a long answer; the last part may exceed it. It bounds the memory that a slow
/// reader costs.
pub(crate) const PIECE: usize = 32 * 1024;
