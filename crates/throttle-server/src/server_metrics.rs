//! The metrics of a server itself: connections, process, reloads, store, log. They have a recorder for each server, so that
//! two servers in a process share nothing.

#[cfg(target_os = "linux")]
mod process;
mod reloads;
mod store;

use std::sync::Arc;

use metrics::{Counter, Key, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use throttle_http::Metrics;

pub(crate) use self::{
    reloads::Reloads,
    store::{StoreMetrics, describe_file, describe_grace},
};
use crate::{
    config,
    listen::{Capacity, ConnectionMetrics},
    logging, wall_clock,
};

/// The metrics of a server that starts now, and among them those of its connections.
pub(crate) fn metrics(
    config: &config::Metrics,
    capacity: Capacity,
) -> (Metrics, ConnectionMetrics) {
    // It needs no periodic maintenance, which only histograms need.
    let recorder = PrometheusBuilder::new().build_recorder();
    let connections = connections(&recorder);
    let exporter = recorder.handle();
    let metrics = Metrics::new(Arc::new(recorder), Arc::new(move || exporter.render()));
    describe(&metrics, capacity);
    (metrics.histograms(config.histograms.into()), connections)
}

/// Adds the metrics whose values are read when they are scraped.
fn describe(metrics: &Metrics, capacity: Capacity) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let help = "Version of this server.";
    metrics.gauge_at_scrape("throttle_build_info", &version, help, || 1.0);
    let help = "Most connections that stay open.";
    let limit = capacity.connections as f64;
    metrics.gauge_at_scrape("throttle_connections_limit", &[], help, move || limit);
    let help = "When the server started, in seconds since 1970.";
    let start = unix_time();
    metrics.gauge_at_scrape("throttle_start_time_seconds", &[], help, move || start);
    // The log is that of the process, for all its servers.
    for (destination, queue) in logging::queues() {
        let labels = [("destination", *destination)];
        let help = "Messages of the log that were dropped or could not be written.";
        let lost = || queue.lost() as f64;
        metrics.counter_at_scrape("throttle_log_lines_lost_total", &labels, help, lost);
    }
    #[cfg(target_os = "linux")]
    process::describe(metrics);
}

fn connections(recorder: &impl Recorder) -> ConnectionMetrics {
    let gauge = |name: &'static str, help: &'static str| {
        recorder.describe_gauge(name.into(), None, help.into());
        recorder.register_gauge(&Key::from_static_name(name), &METADATA)
    };
    let counter = |name: &'static str, help: &'static str| -> Counter {
        recorder.describe_counter(name.into(), None, help.into());
        recorder.register_counter(&Key::from_static_name(name), &METADATA)
    };
    ConnectionMetrics {
        open: gauge("throttle_connections", "Open connections."),
        evicted: counter(
            "throttle_evicted_connections_total",
            "Connections that were closed in favour of others because there were too many.",
        ),
        refused: counter(
            "throttle_refused_connections_total",
            "Connections that were answered 503 because there were too many and none could be closed.",
        ),
    }
}

const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, None);

/// The present, in seconds since 1970.
fn unix_time() -> f64 {
    wall_clock::now().0 as f64 / 1_000.0
}
