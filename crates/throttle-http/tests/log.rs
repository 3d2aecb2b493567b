//! What the log says of requests, and what it does not.
//!
//! In a process of its own: `tracing` remembers for all threads whether anybody listens.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, http::Request};
use serde_json::{Value, json};
use throttle_runtime::{Count, Handle, Level as Rank, SemaphoreConfig, Settings};
use tower::ServiceExt as _;
use tracing::{Level, subscriber::DefaultGuard};

/// Collects what is logged by this thread from `level` on, as lines of JSON.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn from(level: Level) -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .without_time()
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn events(&self) -> Vec<Value> {
        let lines = self.0.lock().unwrap();
        serde_json::Deserializer::from_slice(&lines).into_iter().collect::<Result<_, _>>().unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn routes() -> Router {
    let mutex = SemaphoreConfig { max: Count::ONE, level: Rank(0) };
    let semaphores = BTreeMap::from([("A".to_owned(), mutex)]);
    throttle_http::routes(Handle::start(Settings::default(), &semaphores))
}

async fn send(routes: &Router, method: &str, path: &str, body: &'static str) {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json").body(Body::from(body));
    let Ok(_) = routes.clone().oneshot(request.expect("a proper request")).await;
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_one_debug_event() {
    let routes = routes();
    let (log, _guard) = Log::from(Level::DEBUG);
    send(&routes, "POST", "/restore", r#"{"expires_in":"1m","peer_id":7,"acquired":{}}"#).await;
    send(&routes, "PUT", "/peer/7/A", "1").await;
    send(&routes, "GET", "/semaphores/B", "").await;
    send(&routes, "GET", "/peers/ann", "").await;
    let event = |method, route, status, more: Value| {
        let mut event = json!({
            "level": "DEBUG", "target": "throttle::http", "message": "answered",
            "method": method, "route": route, "status": status,
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let expected = [
        event("POST", "/restore", 200, json!({})),
        event("PUT", "/peers/{id}/{semaphore}", 200, json!({"peer": "7", "semaphore": "A"})),
        event(
            "GET",
            "/semaphores/{name}",
            400,
            json!({"semaphore": "B", "code": "unknown_semaphore"}),
        ),
        event("GET", "/peers/{id}", 400, json!({"peer": "ann", "code": "malformed_path"})),
    ];
    assert_eq!(log.events(), expected);
}

#[tokio::test(start_paused = true)]
async fn no_mistake_of_a_client_is_worth_more_than_debug() {
    let routes = routes();
    let (log, _guard) = Log::from(Level::INFO);
    send(&routes, "PUT", "/peers/5/A", "nonsense").await;
    send(&routes, "PUT", "/peers/5/A", "0").await;
    send(&routes, "GET", "/nowhere", "").await;
    send(&routes, "GET", "/peers/%FF", "").await;
    assert_eq!(log.events(), [] as [Value; 0]);
}
