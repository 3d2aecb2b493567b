//! The metrics of a durable store: its batches, its file, and what was recovered from it.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use throttle_http::{Histogram, Metrics};
use throttle_runtime::{Handle, Recovered};

use super::unix_time;

/// Counts the batches that are written to a store.
#[derive(Clone, Debug)]
pub(crate) struct StoreMetrics {
    seconds: Arc<Histogram>,
    records: Arc<Histogram>,
    failures: Arc<AtomicU64>,
}

impl StoreMetrics {
    /// Adds these metrics to the others.
    pub(crate) fn describe(metrics: &Metrics) -> Self {
        let help = "Time in which a batch of changes was made durable.";
        let seconds = metrics.histogram("throttle_store_batch_seconds", help, SECONDS);
        let help = "Records in a batch of changes.";
        let records = metrics.histogram("throttle_store_batch_records", help, RECORDS);
        let failures = Arc::new(AtomicU64::new(0));
        let help = "Batches that could not be made durable. The server ends with the first.";
        let counted = Arc::clone(&failures);
        let read = move || counted.load(Relaxed) as f64;
        metrics.counter_at_scrape("throttle_store_failures_total", &[], help, read);
        Self { seconds, records, failures }
    }

    /// Counts a batch of so many records.
    pub(crate) fn record(&self, records: usize, took: Duration, is_durable: bool) {
        self.seconds.record(took);
        self.records.observe(records as f64);
        if !is_durable {
            self.failures.fetch_add(1, Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }
}

/// Adds the size of the file, and what was recovered from it; nothing, if it is new.
pub(crate) fn describe_file(metrics: &Metrics, file: PathBuf, recovered: Option<&Recovered>) {
    let help = "Size of the file of the store.";
    let size = move || fs::metadata(&file).map_or(0.0, |metadata| metadata.len() as f64);
    metrics.gauge_at_scrape("throttle_store_bytes", &[], help, size);
    let (took, peers) = recovered.map_or((Duration::ZERO, 0), |it| (it.took, it.peers));
    let gauge = |name, help, value: f64| metrics.gauge_at_scrape(name, &[], help, move || value);
    let help = "How long the server loaded its store when it started.";
    gauge("throttle_store_recovery_seconds", help, took.as_secs_f64());
    let help = "Peers in the store when the server started.";
    gauge("throttle_store_recovered_peers", help, peers as f64);
    let help = "When the server had loaded its store, in seconds since 1970.";
    gauge("throttle_store_last_recovery_timestamp_seconds", help, unix_time());
}

/// Adds the rest of the grace period.
pub(crate) fn describe_grace(metrics: &Metrics, handle: &Handle) {
    let help = "Rest of the grace period after the start, in which nothing new is granted.";
    let handle = handle.clone();
    let left = move || handle.grace_left().unwrap_or_default().as_secs_f64();
    metrics.gauge_at_scrape("throttle_grace_seconds_left", &[], help, left);
}

/// From a write to a fast disk to one that hangs.
const SECONDS: &[f64] =
    &[0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
/// Up to the largest batch that a store takes.
const RECORDS: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0];
