//! The recorder that metrics are kept in: one for each server, so that two share nothing.

use std::{sync::Arc, time::Duration};

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use throttle_http::Metrics;
use tokio::time::interval;

use crate::logging;

/// Metrics without a value yet, and the handle for their upkeep.
pub(crate) fn metrics() -> (Metrics, PrometheusHandle) {
    let mut builder = PrometheusBuilder::new();
    for histogram in ["throttle_wait_seconds", "throttle_hold_seconds"] {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(histogram.to_owned()), SECONDS)
            .expect("there are buckets");
    }
    let recorder = Arc::new(builder.build_recorder());
    describe_build(&*recorder);
    let handle = recorder.handle();
    let render = {
        let (recorder, handle) = (Arc::clone(&recorder), handle.clone());
        Arc::new(move || {
            count_lost_messages(&*recorder);
            handle.render()
        })
    };
    (Metrics::new(recorder, render), handle)
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

/// Keeps the samples of histograms from piling up between two scrapes. Never ends.
pub(crate) async fn upkeep(metrics: PrometheusHandle) {
    let mut interval = interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        metrics.run_upkeep();
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

/// From a millisecond to a day: locks are held for as long as it takes.
const SECONDS: &[f64] = &[
    0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
];
