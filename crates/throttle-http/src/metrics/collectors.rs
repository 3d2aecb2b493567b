//! Metrics whose values are read at each scrape.
//!
//! They are written straight into the text, because the exporter has no counters of fractions.

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use throttle_runtime::{Handle, OpenWaits};

/// The type of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// A series and the function that reads its value.
pub(super) struct Collector {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// Names and values, written without escapes.
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) read: Box<dyn Fn() -> f64 + Send + Sync>,
}

/// The collectors of a server, each with its value at the latest scrape.
#[derive(Default)]
pub(super) struct Collectors(Mutex<Vec<(Collector, f64)>>);

impl Collectors {
    pub(super) fn add(&self, collector: Collector) {
        self.all(|all| all.push((collector, 0.0)));
    }

    /// Reads and writes all collectors in the order in which they were added.
    pub(super) fn write(&self, text: &mut String) {
        self.all(|all| {
            for (Collector { kind, name, help, labels, read }, latest) in all {
                // A counter that cannot be read this time must not look like one that was reset.
                *latest = if *kind == Kind::Counter { latest.max(read()) } else { read() };
                let labels = labels.iter().map(|(name, value)| format!("{name}=\"{value}\""));
                let labels = labels.collect::<Vec<_>>().join(",");
                write_sample(text, *kind, (name, help), &labels, *latest);
            }
        });
    }

    fn all<T>(&self, look: impl FnOnce(&mut Vec<(Collector, f64)>) -> T) -> T {
        // A panic in one collector leaves the others intact.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes the figures of the service behind the routes.
pub(super) async fn write_service(text: &mut String, handle: &Handle) {
    let stalls = handle.stalls();
    let OpenWaits { open, limit, cut_short, .. } = handle.open_waits();
    // `usize::MAX` is no limit.
    let limit = if limit == usize::MAX { f64::INFINITY } else { limit as f64 };
    for (kind, name, help, value) in [
        (
            Kind::Gauge,
            "throttle_open_waits",
            "Number of requests that wait for a lock.",
            open as f64,
        ),
        (
            Kind::Gauge,
            "throttle_open_waits_limit",
            "Number of requests that may wait for as long as they want.",
            limit,
        ),
        (
            Kind::Gauge,
            "throttle_peers",
            "Number of peers.",
            handle.applied().peer_count().unwrap_or_default() as f64,
        ),
        (
            Kind::Counter,
            "throttle_stalled_seconds_total",
            "Time in which the server stood still, which no lease was charged with.",
            stalls.total.as_secs_f64(),
        ),
        (
            Kind::Counter,
            "throttle_stalls_total",
            "Times that the server stood still for more than a second.",
            stalls.count as f64,
        ),
        (
            Kind::Counter,
            "throttle_waits_cut_short_total",
            "Requests that had to wait for a lock beyond the limit of those that do.",
            cut_short as f64,
        ),
    ] {
        write_sample(text, kind, (name, help), "", value);
    }
}

/// Writes a sample, after the help and the type of its metric if an earlier sample has not written them.
fn write_sample(
    text: &mut String,
    kind: Kind,
    (name, help): (&str, &str),
    labels: &str,
    value: f64,
) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let about = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    if !text.contains(&about) {
        text.push_str(&about);
    }
    let (opening, closing) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    writeln!(text, "{name}{opening}{labels}{closing} {value}").expect("a string takes everything");
}
