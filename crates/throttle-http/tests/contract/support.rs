//! Shared by the tests: a service with its routes, and a client that sends one request at a time.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, header},
};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde::de::DeserializeOwned;
use serde_json::Value;
use throttle_http::{Api, Histograms, Metrics};
use throttle_runtime::{Count, Handle, Level, Observer, SemaphoreConfig, Settings};
use throttle_wire::Code;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

/// A service and its routes.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) handle: Handle,
    pub(crate) routes: Router,
}

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A configuration from names, maxima and levels.
pub(crate) fn semaphores(semaphores: &[(&str, u64, i32)]) -> BTreeMap<String, SemaphoreConfig> {
    let semaphores = semaphores.iter().map(|&(name, max, level)| {
        let max = Count::new(max).expect("a positive maximum");
        (name.to_owned(), SemaphoreConfig { max, level: Level(level) })
    });
    semaphores.collect()
}

impl Server {
    /// A service with these semaphores, by name, maximum and level.
    pub(crate) fn start(semaphores: &[(&str, u64, i32)]) -> Self {
        Self::build(semaphores, Settings::default(), |api| api)
    }

    pub(crate) fn build(
        semaphores: &[(&str, u64, i32)],
        settings: Settings,
        api: impl FnOnce(Api) -> Api,
    ) -> Self {
        let handle = Handle::start(settings, &self::semaphores(semaphores));
        Self { routes: api(Api::new(handle.clone())).routes(), handle }
    }

    /// A service with metrics.
    pub(crate) fn with_metrics(semaphores: &[(&str, u64, i32)]) -> Self {
        Self::with_histograms(semaphores, Histograms::Coarse)
    }

    pub(crate) fn with_histograms(semaphores: &[(&str, u64, i32)], histograms: Histograms) -> Self {
        Self::build_with_metrics(semaphores, |metrics| metrics.histograms(histograms))
    }

    pub(crate) fn build_with_metrics(
        semaphores: &[(&str, u64, i32)],
        build: impl FnOnce(Metrics) -> Metrics,
    ) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = recorder.handle();
        let metrics = Metrics::new(Arc::new(recorder), Arc::new(move || text.render()));
        let metrics = build(metrics);
        let semaphores = self::semaphores(semaphores);
        Self::observed(metrics, |observer| {
            Handle::start_observed(Settings::default(), &semaphores, observer)
        })
    }

    /// The service that `start` starts, with metrics.
    pub(crate) fn start_with_metrics(start: impl FnOnce(Box<dyn Observer>) -> Handle) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = recorder.handle();
        Self::observed(Metrics::new(Arc::new(recorder), Arc::new(move || text.render())), start)
    }

    fn observed(metrics: Metrics, start: impl FnOnce(Box<dyn Observer>) -> Handle) -> Self {
        let handle = start(metrics.observer());
        Self { routes: Api::new(handle.clone()).metrics(metrics).routes(), handle }
    }

    /// The routes of a service, without metrics.
    pub(crate) fn of(handle: Handle) -> Self {
        Self { routes: Api::new(handle.clone()).routes(), handle }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let Ok(response) = self.routes.clone().oneshot(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body has an end").to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).expect("answers are text"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, "")).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, "")).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.send(request(Method::PUT, path, body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(request(Method::POST, path, body)).await
    }

    /// A new peer with a lease of a minute.
    pub(crate) async fn join(&self) -> u64 {
        self.post("/new_peer", r#"{"expires_in":"1m"}"#).await.json()
    }

    /// A new peer that holds `count` of a semaphore.
    pub(crate) async fn hold(&self, semaphore: &str, count: u64) -> u64 {
        let peer = self.join().await;
        let answer = self.put(&format!("/peers/{peer}/{semaphore}"), &count.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        peer
    }

    /// Sends a lock request that has to wait, in a task of its own.
    pub(crate) async fn wait(&self, peer: u64, semaphore_and_query: &str) -> JoinHandle<Answer> {
        let request = request(Method::PUT, &format!("/peers/{peer}/{semaphore_and_query}"), "1");
        let server = self.clone();
        let waiting = tokio::spawn(async move { server.send(request).await });
        run_ready_tasks().await;
        assert!(!waiting.is_finished(), "the request must wait");
        waiting
    }
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status / 100, 2, "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn value(&self) -> Value {
        self.json()
    }

    /// The header; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("readable"))
    }

    pub(crate) fn is_text(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, text));
        assert_eq!(self.header("content-type"), "text/plain; charset=utf-8");
    }
}

/// A request, declared as JSON if `body` is not empty.
pub(crate) fn request(method: Method, path: &str, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Body::from(body.to_owned())).expect("a proper request")
}

/// Sends a request twice, and checks the error in both of its forms.
pub(crate) async fn check_refusal(
    server: &Server,
    (method, path, body): (Method, &str, &str),
    code: Code,
    detail: &str,
) -> Answer {
    let plain = server.send(request(method.clone(), path, body)).await;
    plain.is_text(code.status(), detail);

    let mut request = request(method, path, body);
    let accept = "application/problem+json".parse().expect("a header");
    request.headers_mut().insert(header::ACCEPT, accept);
    let document = server.send(request).await;
    assert_eq!(document.status, code.status());
    assert_eq!(document.header("content-type"), "application/problem+json");
    let mut expected = throttle_wire::Problem::new(code, detail.to_owned());
    expected.uptime = (code == Code::UnknownPeer).then(|| server.handle.uptime());
    expected.uptime_seconds = expected.uptime.map(Into::into);
    expected.remembers_for = expected.uptime.map(|_| server.handle.remembers_for());
    expected.remembers_for_seconds = expected.remembers_for.map(Into::into);
    let found: throttle_wire::Problem = serde_json::from_str(&document.body).unwrap();
    // The sentence for a stale request names the peer's highest sequence number first.
    let numbers = detail.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse().ok());
    expected.sequence = numbers.into_iter().next().filter(|_| code == Code::StaleRequest);
    assert_eq!(found, expected);
    plain
}

/// Runs every task until it waits.
pub(crate) async fn run_ready_tasks() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
