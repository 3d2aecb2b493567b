//! The recorder that metrics are kept in: one for each server, so that two share nothing.

use std::{sync::Arc, time::Duration};

use metrics::{Counter, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use throttle_http::Metrics;
use tokio::time::interval;

use crate::listen::{Capacity, ConnectionMetrics};

/// Metrics without a value yet, those of connections, and the handle for their upkeep.
pub(crate) fn metrics(capacity: Capacity) -> (Metrics, ConnectionMetrics, PrometheusHandle) {
    let mut builder = PrometheusBuilder::new();
    for histogram in ["throttle_wait_seconds", "throttle_hold_seconds"] {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(histogram.to_owned()), SECONDS)
            .expect("there are buckets");
    }
    let recorder = builder.build_recorder();
    describe_build(&recorder);
    let connections = connections(&recorder, capacity);
    let handle = recorder.handle();
    let render = {
        let handle = handle.clone();
        Arc::new(move || handle.render())
    };
    (Metrics::new(Arc::new(recorder), render), connections, handle)
}

/// Keeps the samples of histograms from piling up between two scrapes. Never ends.
pub(crate) async fn upkeep(metrics: PrometheusHandle) {
    let mut interval = interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        metrics.run_upkeep();
    }
}

fn connections(recorder: &impl Recorder, capacity: Capacity) -> ConnectionMetrics {
    let gauge = |name: &'static str, help: &'static str| {
        recorder.describe_gauge(name.into(), None, help.into());
        recorder.register_gauge(&Key::from_static_name(name), &METADATA)
    };
    let counter = |name: &'static str, help: &'static str| -> Counter {
        recorder.describe_counter(name.into(), None, help.into());
        recorder.register_counter(&Key::from_static_name(name), &METADATA)
    };
    gauge("throttle_connections_limit", "Most connections that stay open.")
        .set(capacity.connections as f64);
    ConnectionMetrics {
        open: gauge("throttle_connections", "Open connections."),
        evicted: counter(
            "throttle_evicted_connections_total",
            "Connections that were closed in favour of others, for there were too many.",
        ),
        refused: counter(
            "throttle_refused_connections_total",
            "Connections that were answered 503, for there were too many and none could be closed.",
        ),
    }
}

fn describe_build(recorder: &impl Recorder) {
    let key = Key::from_parts(
        "throttle_build_info",
        vec![Label::new("version", env!("CARGO_PKG_VERSION"))],
    );
    recorder.describe_gauge("throttle_build_info".into(), None, "Version of this server.".into());
    recorder.register_gauge(&key, &METADATA).set(1.0);
}

const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, None);

/// From a millisecond to a day: locks are held for as long as it takes.
const SECONDS: &[f64] = &[
    0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
];
