//! Metrics: their names, who counts them, and how they are read.
//!
//! What is held and awaited now is taken from the service at each reading, so it cannot drift from
//! the truth. What happens is counted when it happens: by the routes, and by an observer of the
//! service. What concerns the whole server is kept by a recorder, and what concerns a semaphore in
//! series of our own, which are dropped with it.

mod durations;
mod events;
mod exposition;
mod families;
mod flight;
mod histogram;
mod names;
mod probes;
mod series;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::http::StatusCode;
use metrics::{Counter, Key, Label, Recorder};
use throttle_runtime::{Clock, Handle, Observer, Time};
use throttle_wire::Code;

pub(crate) use self::durations::Group;
pub use self::histogram::Histograms;
use self::{
    durations::Durations,
    events::Events,
    families::Row,
    flight::{Flight, Text},
    probes::{Kind, Probe, Probes},
    series::Register,
};
use crate::{observed::RouteLabel, refusal::Refusal, worker_routes::WorkerRoute};

/// The metrics of one server.
///
/// They are read in the text format of Prometheus. What concerns the whole server is kept by a
/// [`Recorder`] that belongs to this server alone: of two servers in a process, each has its own.
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
pub struct Metrics {
    shared: Arc<Shared>,
    histograms: Histograms,
}

struct Shared {
    recorder: Arc<dyn Recorder + Send + Sync>,
    render: Arc<dyn Fn() -> String + Send + Sync>,
    series: Arc<Register>,
    clock: Clock,
    durations: Durations,
    probes: Probes,
    flight: Arc<Flight>,
    /// How many bytes the latest text had.
    size: AtomicUsize,
    not_found: Counter,
    /// By code.
    refusals: Vec<Counter>,
    /// Requests to workers' routes, by route, method and status. Most of these counters are never needed.
    worker_requests: Vec<OnceLock<Counter>>,
}

impl Metrics {
    /// Metrics that `recorder` keeps and `render` writes in the text format of Prometheus.
    ///
    /// `render` is called on a thread where it may take its time.
    pub fn new(
        recorder: Arc<dyn Recorder + Send + Sync>,
        render: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        names::describe(&*recorder);
        let refusals = Code::ALL.iter().map(|code| {
            let labels = vec![Label::new("code", code.as_str())];
            names::counter(&*recorder, Key::from_parts(names::REFUSALS, labels))
        });
        let shared = Shared {
            not_found: names::counter(&*recorder, Key::from_static_name(names::NOT_FOUND)),
            refusals: refusals.collect(),
            worker_requests: (0..WorkerRoute::ALL.len() * METHODS.len() * STATUSES.len())
                .map(|_| OnceLock::new())
                .collect(),
            recorder,
            render,
            series: Arc::default(),
            clock: Clock::start(),
            durations: Durations::new(),
            probes: Probes::default(),
            flight: Arc::default(),
            size: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared), histograms: Histograms::default() }
    }

    /// Chooses the buckets of `throttle_wait_seconds` and `throttle_hold_seconds`, before the first
    /// call of [`observer`](Self::observer).
    #[must_use]
    pub fn histograms(mut self, histograms: Histograms) -> Self {
        self.histograms = histograms;
        self
    }

    /// Counts what happens in a service, for
    /// [`Handle::start_observed`](throttle_runtime::Handle::start_observed).
    pub fn observer(&self) -> Box<dyn Observer> {
        let Shared { recorder, series, .. } = &*self.shared;
        Box::new(Events::new(&**recorder, self.histograms, Arc::clone(series)))
    }

    /// Adds a gauge whose value `read` tells at each scrape, with labels by which it differs from
    /// others of the same name.
    ///
    /// `read` is called on a thread that serves no requests, for one scrape at a time. It must not
    /// call this `Metrics`. Nothing in the labels and in `help` is escaped.
    pub fn gauge_at_scrape(
        &self,
        name: &'static str,
        labels: &[(&'static str, &'static str)],
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let (labels, read) = (labels.to_vec(), Box::new(read));
        self.shared.probes.add(Probe { kind: Kind::Gauge, name, help, labels, read });
    }

    /// Adds a counter as [`gauge_at_scrape`](Self::gauge_at_scrape) adds a gauge. A value lower than
    /// one before counts as that one.
    pub fn counter_at_scrape(
        &self,
        name: &'static str,
        labels: &[(&'static str, &'static str)],
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let (labels, read) = (labels.to_vec(), Box::new(read));
        self.shared.probes.add(Probe { kind: Kind::Counter, name, help, labels, read });
    }

    /// The present, to tell how long a request takes.
    pub(crate) fn now(&self) -> Time {
        self.shared.clock.now()
    }

    /// Counts a request with its outcome, and its duration if it has a start.
    pub(crate) fn count(
        &self,
        route: RouteLabel,
        (method, started): (&str, Option<Time>),
        status: StatusCode,
        code: Option<Code>,
    ) {
        if let Some(started) = started {
            self.shared.durations.record(route.group, started, self.now());
        }
        self.count_request(route, method, status);
        if let Some(code) = code
            && let Some(refusals) = self.shared.refusals.get(code as usize)
        {
            refusals.increment(1);
        }
        if code == Some(Code::UnknownRoute) {
            self.shared.not_found.increment(1);
        }
    }

    fn count_request(&self, route: RouteLabel, method: &str, status: StatusCode) {
        let method = METHODS.iter().position(|it| *it == method).unwrap_or(0);
        let status = STATUSES.iter().position(|it| *it == status.as_u16()).unwrap_or(0);
        let counter = || {
            let status = match STATUSES[status] {
                OTHER => "other".to_owned(),
                status => status.to_string(),
            };
            let labels = vec![
                Label::new("route", route.name),
                Label::new("method", METHODS[method]),
                Label::new("status", status),
            ];
            names::counter(&*self.shared.recorder, Key::from_parts(names::REQUESTS, labels))
        };
        match route.worker {
            Some(worker) => {
                let index = (worker as usize * METHODS.len() + method) * STATUSES.len() + status;
                self.shared.worker_requests[index].get_or_init(counter).increment(1);
            }
            // The recorder finds the counter by its labels, which takes about a microsecond.
            None => counter().increment(1),
        }
    }

    /// The text for Prometheus, sorted, with the present state of `handle`.
    ///
    /// It is made on a thread that serves no requests, one at a time: who asks meanwhile gets the same.
    pub(crate) async fn text(&self, handle: &Handle) -> Result<Arc<Text>, Refusal> {
        let (metrics, handle) = (self.clone(), handle.clone());
        self.shared.flight.text(move || metrics.write(&handle)).await
    }

    fn write(&self, handle: &Handle) -> String {
        let Shared { probes, series, render, durations, size, .. } = &*self.shared;
        let rows = handle.semaphore_pages().flat_map(|semaphores| {
            let series = series.find(semaphores.iter().map(|semaphore| semaphore.id));
            semaphores.into_iter().zip(series).map(|(status, series)| Row::new(status, series))
        });
        let (rows, bounds) = (rows.collect(), self.histograms.bounds());
        // A little more than the last time, for numbers grow.
        let capacity = size.load(Relaxed) / 16 * 17;
        let mut exported = render();
        durations.write(&mut exported);
        probes.write(&mut exported);
        probes::write_service(&mut exported, handle);
        let text = exposition::write(&exported, rows, bounds, capacity);
        size.store(text.len(), Relaxed);
        text
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
const STATUSES: &[u16] =
    &[OTHER, 200, 202, 400, 403, 404, 405, 409, 413, 415, 422, 429, 431, 500, 503];

/// No status.
const OTHER: u16 = 0;
