//! The HTTP interface of Throttle as axum routes over a [`Handle`]. It never listens.
//!
//! [`routes()`] is all it takes to serve semaphores, alone or below a path of an application of your
//! own. [`Api`] builds the same routes with limits, metrics and a way to reload the configuration.
//!
//! ```
//! use std::collections::BTreeMap;
//! use axum::{Router, body::Body, http::{Request, StatusCode}};
//! use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let db = SemaphoreConfig { max: Count::ONE, level: Level(0) };
//! let throttle = Handle::start(Settings::default(), &BTreeMap::from([("db".to_owned(), db)]));
//! let application = Router::new().nest("/throttle", throttle_http::routes(throttle));
//!
//! let request = Request::get("/throttle/remainder?semaphore=db").body(Body::empty()).unwrap();
//! let answer = application.oneshot(request).await.unwrap();
//! assert_eq!(answer.status(), StatusCode::OK);
//! # }
//! ```
//!
//! A handler extracts, calls the [`Handle`], and maps the outcome; it decides nothing. The future of
//! a blocked acquire must be dropped as soon as its connection breaks, as hyper does by default: that is
//! how a waiter whose client is gone is passed over.
//!
//! Errors are one sentence of plain text, or a [`Problem`](throttle_wire::Problem) for a client that asks for
//! `application/problem+json`, with a stable [`Code`](throttle_wire::Code). All of them are in our own words,
//! not in those of a library. Everything a client sends is bounded by [`RequestLimits`].
//!
//! There are two kinds of routes. `worker_routes` is the table of those that workers use all the time; it
//! leads to the handlers in `peers`, `locks` and `semaphores`, which read a `worker_request` with the help of
//! `extractors`, `deserialize`, `json` and `percent`. `operator_routes` is an axum router for everything
//! else: lists, metrics, the page, reload. `endpoint` chooses between them, and `observed` goes around every
//! handler of either kind. `view`, `listing`, `page`, `refusal` and `answer` make the answer,
//! and `compression` shortens those of operators' routes.

#![forbid(unsafe_code)]

mod accept_header;
mod answer;
mod api;
mod compression;
mod deserialize;
mod endpoint;
mod extractors;
mod json;
mod listing;
mod locks;
mod malformed_http;
mod metrics;
mod observed;
mod operator_routes;
mod origin;
mod page;
mod peers;
mod percent;
mod refusal;
mod request_limits;
mod semaphores;
mod service;
mod view;
mod worker_request;
mod worker_routes;

use axum::Router;
use throttle_runtime::Handle;

pub use crate::{
    api::Api,
    endpoint::Endpoint,
    malformed_http::Malformed,
    metrics::{Histogram, Histograms, Metrics},
    request_limits::RequestLimits,
};

/// All routes of `handle` with the default [`RequestLimits`], without metrics and without reload.
pub fn routes(handle: Handle) -> Router {
    Api::new(handle).routes()
}
