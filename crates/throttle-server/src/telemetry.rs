//! The recorder that metrics are kept in: one for each server, so that two share nothing.

use std::sync::Arc;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use throttle_http::Metrics;

use crate::{config, logging};

/// Metrics without a value yet.
pub(crate) fn metrics(config: &config::Metrics) -> Metrics {
    // No upkeep: it has no histograms, which would have to be emptied now and then.
    let recorder = Arc::new(PrometheusBuilder::new().build_recorder());
    describe_build(&*recorder);
    let handle = recorder.handle();
    let render = {
        let recorder = Arc::clone(&recorder);
        Arc::new(move || {
            count_lost_messages(&*recorder);
            handle.render()
        })
    };
    Metrics::new(recorder, render).histograms(config.histograms.into())
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
