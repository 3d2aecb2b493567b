//! Metrics: their names, who counts them, and how they are read.
//!
//! What is held and awaited now is taken from the service at each reading, so it cannot drift from
//! the truth. What happens is counted when it happens: by the routes, and by an observer of the
//! service. All series are registered once and found by an index.

mod events;
mod exposition;
mod names;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use axum::http::StatusCode;
use metrics::{Counter, Gauge, Key, Label, Recorder};
use throttle_runtime::{Handle, Observer, SemaphoreStatus};
use throttle_wire::Code;

use crate::routes::Route;

/// The metrics of one server.
///
/// They are kept by a [`Recorder`] that belongs to this server alone, and read in the text format of
/// Prometheus. Of two servers in a process, each has its own.
///
/// Histograms are `throttle_wait_seconds` and `throttle_hold_seconds`; their buckets are up to the
/// recorder.
///
/// ```
/// use std::{collections::BTreeMap, sync::Arc};
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use throttle_http::{Api, Metrics};
/// use throttle_runtime::{Handle, Settings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let recorder = PrometheusBuilder::new().build_recorder();
/// let text = recorder.handle();
/// let metrics = Metrics::new(Arc::new(recorder), Arc::new(move || text.render()));
/// let observer = metrics.observer();
/// let handle = Handle::start_observed(Settings::default(), &BTreeMap::new(), observer);
/// let routes = Api::new(handle).metrics(metrics).routes();
/// # let _: axum::Router = routes;
/// # }
/// ```
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

type Registry = Arc<dyn Recorder + Send + Sync>;

struct Shared {
    registry: Registry,
    render: Arc<dyn Fn() -> String + Send + Sync>,
    peers: Gauge,
    not_found: Counter,
    /// By code.
    refusals: Vec<Counter>,
    /// By route, method and status. They come into being when they are first needed: most never are.
    requests: Vec<OnceLock<Counter>>,
}

impl Metrics {
    /// Metrics that `recorder` keeps and `render` writes in the text format of Prometheus.
    ///
    /// Label values are passed on with `\` and `"` escaped already, as `metrics-exporter-prometheus`
    /// needs them to render every name of a semaphore unmistakably.
    pub fn new(
        recorder: Arc<dyn Recorder + Send + Sync>,
        render: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        names::describe(&*recorder);
        let refusals = Code::ALL.iter().map(|code| {
            let labels = vec![Label::new("code", code.as_str())];
            names::counter(&*recorder, Key::from_parts(names::REFUSALS, labels))
        });
        Self(Arc::new(Shared {
            peers: names::gauge(&*recorder, Key::from_static_name(names::PEERS)),
            not_found: names::counter(&*recorder, Key::from_static_name(names::NOT_FOUND)),
            refusals: refusals.collect(),
            requests: (0..Route::COUNT * METHODS.len() * STATUSES.len())
                .map(|_| OnceLock::new())
                .collect(),
            registry: recorder,
            render,
        }))
    }

    /// Counts what happens in a service, for
    /// [`Handle::start_observed`](throttle_runtime::Handle::start_observed).
    pub fn observer(&self) -> Box<dyn Observer> {
        Box::new(events::Events::new(Arc::clone(&self.0.registry)))
    }

    /// Counts a request with its outcome.
    pub(crate) fn count(&self, route: Route, method: &str, status: StatusCode, code: Option<Code>) {
        self.requests(route, method, status).increment(1);
        if let Some(code) = code
            && let Some(refusals) = self.0.refusals.get(code as usize)
        {
            refusals.increment(1);
        }
        if code == Some(Code::UnknownRoute) {
            self.0.not_found.increment(1);
        }
    }

    fn requests(&self, route: Route, method: &str, status: StatusCode) -> &Counter {
        let position = |all: &[&str], one| all.iter().position(|it| *it == one).unwrap_or(0);
        let method = position(METHODS, method);
        let status = position(STATUSES, status.as_str());
        let index = (route as usize * METHODS.len() + method) * STATUSES.len() + status;
        self.0.requests[index].get_or_init(|| {
            let labels = vec![
                Label::new("route", route.name()),
                Label::new("method", METHODS[method]),
                Label::new("status", STATUSES[status]),
            ];
            names::counter(&*self.0.registry, Key::from_parts(names::REQUESTS, labels))
        })
    }

    /// The text for Prometheus, sorted, with the present state of the semaphores of `handle`, and
    /// with nothing of semaphores that are no more.
    pub(crate) fn scrape(&self, handle: &Handle) -> String {
        let semaphores = handle.semaphores();
        for SemaphoreStatus { name, max, held, pending, longest_pending, .. } in &semaphores {
            let set = |metric, value| {
                let key = Key::from_parts(metric, vec![names::semaphore(name)]);
                names::gauge(&*self.0.registry, key).set(value);
            };
            set(names::MAX, max.get() as f64);
            set(names::ACQUIRED, *held as f64);
            set(names::PENDING, *pending as f64);
            set(names::LONGEST_PENDING, longest_pending.as_secs_f64());
        }
        self.0.peers.set(handle.peer_count() as f64);
        exposition::tidy(&(self.0.render)(), semaphores.iter().map(|semaphore| &*semaphore.name))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// As labels. The first stands for all others.
const METHODS: &[&str] = &["other", "DELETE", "GET", "HEAD", "POST", "PUT"];

/// As labels. The first stands for all others, of which there are none.
const STATUSES: &[&str] = &[
    "other", "200", "202", "400", "404", "405", "409", "413", "415", "422", "429", "431", "500",
    "503",
];
