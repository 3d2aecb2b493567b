//! The recorder that metrics are kept in: one for each server, so that two share nothing; and what is
//! told of the server itself.

#[cfg(target_os = "linux")]
mod process;
mod reloads;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use metrics::{Counter, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use throttle_http::Metrics;

pub(crate) use self::reloads::Reloads;
use crate::{
    config,
    listen::{Capacity, ConnectionMetrics},
    logging,
};

/// Metrics of a server that starts now, and those of its connections.
pub(crate) fn metrics(
    config: &config::Metrics,
    capacity: Capacity,
) -> (Metrics, ConnectionMetrics) {
    // No upkeep: it has no histograms, which would have to be emptied now and then.
    let recorder = Arc::new(PrometheusBuilder::new().build_recorder());
    describe_build(&*recorder);
    let connections = connections(&*recorder, capacity);
    let handle = recorder.handle();
    let render = {
        let recorder = Arc::clone(&recorder);
        Arc::new(move || {
            count_lost_messages(&*recorder);
            handle.render()
        })
    };
    let metrics = Metrics::new(recorder, render);
    let start = unix_time();
    let help = "When the server started, in seconds since 1970.";
    metrics.gauge_at_scrape("throttle_start_time_seconds", help, move || start);
    #[cfg(target_os = "linux")]
    process::describe(&metrics);
    (metrics.histograms(config.histograms.into()), connections)
}

/// Brings the counters of lost messages up to date. There is one log in a process, whichever server
/// is asked.
fn count_lost_messages(recorder: &impl Recorder) {
    for (destination, lost) in logging::lost_messages() {
        let labels = vec![Label::new("destination", destination)];
        let key = Key::from_parts(LOST_MESSAGES, labels);
        recorder.register_counter(&key, &METADATA).absolute(lost);
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
    let about = "Messages of the log that were dropped or could not be written.";
    recorder.describe_counter(LOST_MESSAGES.into(), None, about.into());
    let key = Key::from_parts(
        "throttle_build_info",
        vec![Label::new("version", env!("CARGO_PKG_VERSION"))],
    );
    recorder.describe_gauge("throttle_build_info".into(), None, "Version of this server.".into());
    recorder.register_gauge(&key, &METADATA).set(1.0);
}

const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, None);

const LOST_MESSAGES: &str = "throttle_log_lines_lost_total";

#[expect(clippy::disallowed_methods, reason = "for people to read; nothing depends on it")]
fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
