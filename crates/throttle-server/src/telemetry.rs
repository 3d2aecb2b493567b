//! The recorder that metrics are kept in: one for each server, so that two share nothing.

use std::sync::Arc;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use throttle_http::Metrics;

use crate::config;

/// Metrics without a value yet.
pub(crate) fn metrics(config: &config::Metrics) -> Metrics {
    // No upkeep: it has no histograms, which would have to be emptied now and then.
    let recorder = PrometheusBuilder::new().build_recorder();
    describe_build(&recorder);
    let handle = recorder.handle();
    let metrics = Metrics::new(Arc::new(recorder), Arc::new(move || handle.render()));
    metrics.histograms(config.histograms.into())
}

fn describe_build(recorder: &impl Recorder) {
    const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, None);
    let key = Key::from_parts(
        "throttle_build_info",
        vec![Label::new("version", env!("CARGO_PKG_VERSION"))],
    );
    recorder.describe_gauge("throttle_build_info".into(), None, "Version of this server.".into());
    recorder.register_gauge(&key, &METADATA).set(1.0);
}
