//! The outcomes of reloads, for the metrics.

use std::sync::{Arc, Mutex, MutexGuard};

use throttle_http::Metrics;

use super::unix_time;

/// The outcomes of reloads by signal or request.
#[derive(Debug)]
pub(crate) struct Reloads(Mutex<Outcomes>);

#[derive(Clone, Copy, Debug)]
struct Outcomes {
    applied: u64,
    refused: u64,
    last_applied: bool,
    last_time: f64,
}

impl Reloads {
    /// No reloads so far. The start counts as the last one, and as applied.
    pub(crate) fn new() -> Arc<Self> {
        let outcomes =
            Outcomes { applied: 0, refused: 0, last_applied: true, last_time: unix_time() };
        Arc::new(Self(Mutex::new(outcomes)))
    }

    /// Adds these outcomes to the metrics.
    pub(crate) fn describe(self: &Arc<Self>, metrics: &Metrics) {
        let counter = |outcome, read: fn(Outcomes) -> u64| {
            let reloads = Arc::clone(self);
            let help = "Reloads of the configuration, by outcome.";
            let read = move || read(*reloads.outcomes()) as f64;
            metrics.counter_at_scrape(
                "throttle_reloads_total",
                &[("outcome", outcome)],
                help,
                read,
            );
        };
        counter("applied", |outcomes| outcomes.applied);
        counter("refused", |outcomes| outcomes.refused);
        let gauge = |name, help, read: fn(Outcomes) -> f64| {
            let reloads = Arc::clone(self);
            metrics.gauge_at_scrape(name, &[], help, move || read(*reloads.outcomes()));
        };
        let help = "Whether the last reload, or the start if there was none, was applied.";
        gauge("throttle_last_reload_success", help, |outcomes| f64::from(outcomes.last_applied));
        let help = "When the last reload ended, or the server started, in seconds since 1970.";
        gauge("throttle_last_reload_timestamp_seconds", help, |outcomes| outcomes.last_time);
    }

    /// Notes that a reload has ended.
    pub(crate) fn record(&self, applied: bool) {
        let mut outcomes = self.outcomes();
        *if applied { &mut outcomes.applied } else { &mut outcomes.refused } += 1;
        (outcomes.last_applied, outcomes.last_time) = (applied, unix_time());
    }

    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.0.lock().expect("no panic while the outcomes are locked")
    }
}
