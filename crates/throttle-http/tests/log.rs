//! The log records of requests and peers, and their levels.
//!
//! In a process of their own, because `tracing` caches for all threads whether an event is enabled.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use serde_json::{Value, json};
use throttle_runtime::{Count, Handle, Level as Rank, SemaphoreConfig, Settings};
use tokio::time::sleep;
use tower::ServiceExt as _;
use tracing::{Level, subscriber::DefaultGuard};

/// Collects the log records of this thread from `level` on, as lines of JSON.
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
    send(&routes, "GET", "/semaphores/A/fencing/7", "").await;
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
        event(
            "GET",
            "/semaphores/{name}/fencing/{token}",
            404,
            json!({"semaphore": "A", "code": "not_held"}),
        ),
    ];
    let mut events = log.events();
    events.retain(|event| event["target"] == "throttle::http");
    assert_eq!(events, expected);
}

#[tokio::test(start_paused = true)]
async fn mistakes_of_clients_are_logged_at_debug_only() {
    let routes = routes();
    let (log, _guard) = Log::from(Level::INFO);
    send(&routes, "PUT", "/peers/5/A", "nonsense").await;
    send(&routes, "PUT", "/peers/5/A", "0").await;
    send(&routes, "GET", "/nowhere", "").await;
    send(&routes, "GET", "/peers/%FF", "").await;
    assert_eq!(log.events(), [] as [Value; 0]);
}

/// Even if a client creates peers whose lease ends at once.
#[tokio::test(start_paused = true)]
async fn peers_that_expire_are_logged_with_one_warning_a_second() {
    let routes = routes();
    let (log, _guard) = Log::from(Level::WARN);
    for _ in 0..300 {
        send(&routes, "POST", "/new_peer", r#"{"expires_in":"0s"}"#).await;
        sleep(Duration::from_millis(10)).await;
    }
    let holder = r#"{"expires_in":"1s","peer_id":7,"acquired":{"A":1}}"#;
    send(&routes, "POST", "/restore", holder).await;
    sleep(Duration::from_secs(60)).await;
    let events = log.events();
    assert!((4..=6).contains(&events.len()), "{} lines for three seconds", events.len());
    let sum = |field: &str| events.iter().map(|event| event[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("peers"), sum("holding"), sum("locks")), (301, 1, 1));
    for event in events {
        assert_eq!((&event["level"], &event["message"]), (&json!("WARN"), &json!("peers expired")));
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_names_restored_peers_with_their_locks() {
    let routes = routes();
    let (log, _guard) = Log::from(Level::DEBUG);
    let restored = r#"{"expires_in":"1m","peer_id":7,"acquired":{"A":1}}"#;
    send(&routes, "POST", "/restore", restored).await;
    let expected = json!({
        "level": "DEBUG", "target": "throttle::peers", "message": "peer restored",
        "peer": "7", "expires_in": "60s", "locks": r#"{"A": 1}"#,
    });
    assert!(log.events().contains(&expected), "{:?}", log.events());
}

#[tokio::test(start_paused = true)]
async fn the_log_names_removed_and_expired_peers_with_their_locks() {
    let routes = routes();
    let (log, _guard) = Log::from(Level::INFO);
    let restore = |peer, lease, locks| {
        let labels = r#""labels":{"host":"worker-7"}"#;
        let body =
            format!(r#"{{"expires_in":"{lease}","peer_id":{peer},"acquired":{locks},{labels}}}"#);
        Box::leak(body.into_boxed_str())
    };
    send(&routes, "POST", "/restore", restore(1, "5s", r#"{"A":1}"#)).await;
    send(&routes, "POST", "/restore", restore(2, "1m", "{}")).await;
    send(&routes, "PUT", "/peers/2/A", "1").await;
    send(&routes, "DELETE", "/peers/2", "").await;
    send(&routes, "POST", "/restore", r#"{"expires_in":"1m","peer_id":3,"acquired":{}}"#).await;
    send(&routes, "DELETE", "/peers/3", "").await;
    sleep(Duration::from_secs(6)).await;
    let mut events = log.events();
    events.retain(|event| event["level"] == "INFO");
    for event in &mut events {
        let event = event.as_object_mut().unwrap();
        assert_eq!(event.remove("target"), Some(json!("throttle::peers")));
        event.remove("level");
        if let Some(Value::String(locks)) = event.get_mut("locks")
            && let Some(token) = locks.split(['n', ',']).nth(1).filter(|_| locks.contains("token"))
        {
            *locks = locks.replacen(token, " 9", 1);
        }
    }
    let labels = r#"{"host": "worker-7"}"#;
    let expected = [
        json!({
            "message": "peer removed", "peer": "2", "locks": "none",
            "awaited": r#"1 of "A" (for 0.0ns)"#, "labels": labels,
        }),
        json!({ "message": "peer removed", "peer": "3", "locks": "none" }),
        json!({
            "message": "peer expired", "peer": "1",
            "locks": r#"1 of "A" (token 9, held for 5.0s)"#, "labels": labels,
        }),
    ];
    assert_eq!(events, expected);
}
