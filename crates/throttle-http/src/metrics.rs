//! The metrics, and the text in which Prometheus reads them.
//!
//! Gauges of what is held and pending are read from the service at each scrape, so they cannot drift
//! from it. Events are counted when they happen: requests by the routes, the rest by an observer of the
//! service. A recorder keeps the counters of the whole server ([`counters`]). The series of a semaphore
//! are kept here ([`semaphore_series`]), because a recorder cannot drop them with the semaphore.

mod collectors;
mod counters;
mod event_counts;
mod exposition;
mod histogram;
mod plain_histograms;
mod request_durations;
mod route_counters;
mod semaphore_families;
mod semaphore_series;
mod single_flight;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::http::StatusCode;
use metrics::{Counter, Key, Label, Recorder};
use throttle_runtime::{Clock, Handle, Observer, Time};
use throttle_wire::Code;

pub use self::histogram::{Histogram, Histograms};
use self::{
    collectors::{Collector, Collectors, Kind},
    event_counts::EventCounts,
    plain_histograms::PlainHistograms,
    request_durations::RequestDurations,
    semaphore_families::Row,
    semaphore_series::SeriesRegistry,
    single_flight::{SharedText, SingleFlight},
};
pub(crate) use self::{request_durations::RequestGroup, route_counters::RouteCounters};
use crate::refusal::Refusal;

/// The metrics of one server.
///
/// They are read in the text format of Prometheus. The metrics of the whole server are kept by a
/// [`Recorder`] that belongs to this server alone: two servers in one process have two recorders.
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
    inner: Arc<MetricsInner>,
    histograms: Histograms,
}

struct MetricsInner {
    recorder: Arc<dyn Recorder + Send + Sync>,
    render: Arc<dyn Fn() -> String + Send + Sync>,
    series: Arc<SeriesRegistry>,
    clock: Clock,
    durations: RequestDurations,
    collectors: Collectors,
    plain_histograms: PlainHistograms,
    single_flight: Arc<SingleFlight>,
    /// The length of the latest text in bytes.
    size: AtomicUsize,
    not_found: Counter,
    /// By code, in the order of [`Code::ALL`].
    refusals: Vec<Counter>,
}

impl Metrics {
    /// Metrics that `recorder` keeps and `render` writes in the text format of Prometheus.
    ///
    /// `render` is called on a thread where it may block.
    pub fn new(
        recorder: Arc<dyn Recorder + Send + Sync>,
        render: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        counters::describe(&*recorder);
        let refusals = Code::ALL.iter().map(|code| {
            let labels = vec![Label::new("code", code.as_str())];
            counters::register(&*recorder, Key::from_parts(counters::REFUSALS, labels))
        });
        let inner = MetricsInner {
            not_found: counters::register(&*recorder, Key::from_static_name(counters::NOT_FOUND)),
            refusals: refusals.collect(),
            recorder,
            render,
            series: Arc::default(),
            clock: Clock::start(),
            durations: RequestDurations::new(),
            collectors: Collectors::default(),
            plain_histograms: PlainHistograms::default(),
            single_flight: Arc::default(),
            size: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner), histograms: Histograms::default() }
    }

    /// Chooses the buckets of `throttle_wait_seconds` and `throttle_hold_seconds`. Takes effect only
    /// before the first call of [`observer`](Self::observer).
    #[must_use]
    pub fn histograms(mut self, histograms: Histograms) -> Self {
        self.histograms = histograms;
        self
    }

    /// An observer that counts the events of a service, for
    /// [`Handle::start_observed`](throttle_runtime::Handle::start_observed).
    pub fn observer(&self) -> Box<dyn Observer> {
        let MetricsInner { recorder, series, .. } = &*self.inner;
        Box::new(EventCounts::new(&**recorder, self.histograms, Arc::clone(series)))
    }

    /// Adds a gauge whose value `read` returns at each scrape. Gauges of the same name must differ in
    /// their labels.
    ///
    /// `read` is called on a thread that serves no requests, for one scrape at a time. It must not
    /// call this `Metrics`. Labels and `help` are written as they are, without escapes.
    pub fn gauge_at_scrape(
        &self,
        name: &'static str,
        labels: &[(&'static str, &'static str)],
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let (labels, read) = (labels.to_vec(), Box::new(read));
        self.inner.collectors.add(Collector { kind: Kind::Gauge, name, help, labels, read });
    }

    /// Adds a counter as [`gauge_at_scrape`](Self::gauge_at_scrape) adds a gauge. If `read` returns less
    /// than before, the counter keeps its value.
    pub fn counter_at_scrape(
        &self,
        name: &'static str,
        labels: &[(&'static str, &'static str)],
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let (labels, read) = (labels.to_vec(), Box::new(read));
        self.inner.collectors.add(Collector { kind: Kind::Counter, name, help, labels, read });
    }

    /// Adds a histogram without labels, with these upper bounds of its buckets in ascending order. Its name must
    /// be unique; `help` is written as it is, without escapes.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
    ) -> Arc<Histogram> {
        let histogram = Arc::new(Histogram::new(bounds));
        self.inner.plain_histograms.add(name, help, Arc::clone(&histogram));
        histogram
    }

    /// The present, from which durations of requests are measured.
    pub(crate) fn now(&self) -> Time {
        self.inner.clock.now()
    }

    /// The counters of the requests to the route of this name.
    pub(crate) fn route_counters(&self, route: &'static str) -> RouteCounters {
        RouteCounters::new(Arc::clone(&self.inner.recorder), route)
    }

    /// Counts a request with its outcome, and its duration if its start is known.
    pub(crate) fn count(
        &self,
        route: &RouteCounters,
        (group, method, started): (RequestGroup, &str, Option<Time>),
        status: StatusCode,
        code: Option<Code>,
    ) {
        let MetricsInner { durations, refusals, not_found, .. } = &*self.inner;
        if let Some(started) = started {
            durations.record(group, started, self.now());
        }
        route.increment(method, status);
        if let Some(code) = code
            && let Some(refusals) = refusals.get(code as usize)
        {
            refusals.increment(1);
        }
        if code == Some(Code::UnknownRoute) {
            not_found.increment(1);
        }
    }

    /// The text for Prometheus, sorted, with the present state of `handle`.
    ///
    /// It is written on a thread that serves no requests, one text at a time. A request that arrives
    /// meanwhile gets the same text.
    pub(crate) async fn text(&self, handle: &Handle) -> Result<Arc<SharedText>, Refusal> {
        let (metrics, handle) = (self.clone(), handle.clone());
        let runtime = tokio::runtime::Handle::current();
        self.inner.single_flight.text(move || runtime.block_on(metrics.write(&handle))).await
    }

    async fn write(&self, handle: &Handle) -> String {
        let MetricsInner { collectors, plain_histograms, series, render, durations, size, .. } =
            &*self.inner;
        let mut rows = Vec::new();
        for semaphores in handle.applied().semaphore_pages().map_while(Result::ok) {
            let series = series.find(semaphores.iter().map(|semaphore| semaphore.id));
            let page = semaphores.into_iter().zip(series);
            rows.extend(page.map(|(status, series)| Row::new(status, series)));
        }
        let bounds = self.histograms.bounds();
        // A little more than the last time, because numbers grow.
        let capacity = size.load(Relaxed) / 16 * 17;
        let mut exported = render();
        durations.write(&mut exported);
        plain_histograms.write(&mut exported);
        collectors.write(&mut exported);
        collectors::write_service(&mut exported, handle).await;
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
