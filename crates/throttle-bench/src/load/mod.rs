//! What servers are loaded with, one file for each kind of load.

mod contend;
mod exclusion;
mod pause_probe;
mod populate;
mod scenario;
mod serve;

pub(crate) use self::{
    contend::Contend,
    pause_probe::PauseProbe,
    populate::{Lease, populate, remove_peers},
    scenario::{Scenario, ScenarioLoad},
    serve::{Serve, queue_up},
};

use std::time::Duration;

use hdrhistogram::Histogram;

/// How long things took, to three digits.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).expect("it is not that long");
        Self(Histogram::new_with_max(longest, 3).expect("three digits are few enough"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records one of requests that come at a pace. While it is on its way others are due that are
    /// not sent; they would have waited for what was left of its time, and count as if they had.
    pub(crate) fn record_at_pace(&mut self, latency: Duration, pace: Duration) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let latency = nanos(latency.min(LONGEST));
        self.0.record_correct(latency, nanos(pace)).expect("it is not too long for the histogram");
    }

    /// Adds those that somebody else recorded.
    pub(crate) fn add(&mut self, others: &Self) {
        self.0.add(&others.0).expect("all histograms are alike");
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// What `percent` of them did not exceed, in microseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1e3
    }

    /// The longest, in microseconds.
    pub(crate) fn longest(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

/// Whatever takes longer counts as this.
const LONGEST: Duration = Duration::from_secs(300);

/// The semaphore that has room for everybody.
pub(crate) const AMPLE: &str = "ample";
/// A mutex.
pub(crate) const MUTEX: &str = "mutex";
/// A semaphore that is taken, so that there is a queue in front of it.
pub(crate) const TAKEN: &str = "taken";
/// A long list of semaphores, each by its number.
pub(crate) fn numbered(number: usize) -> String {
    format!("s{number}")
}

/// Longer than any measurement.
pub(crate) const LONG: &str = "12h";
/// Waits for a lock for longer than any measurement takes.
pub(crate) const BLOCKING: &str = "?block_for=1h";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_would_have_come_during_a_pause_counts_as_well() {
        let mut latencies = Latencies::new();
        let (short, long) = (Duration::from_micros(10), Duration::from_millis(100));
        for _ in 0..900 {
            latencies.record_at_pace(short, Duration::from_millis(1));
        }
        latencies.record_at_pace(long, Duration::from_millis(1));
        assert_eq!(latencies.count(), 1_000, "one every millisecond");
        assert!((99_000.0..101_000.0).contains(&latencies.longest()));
        assert!((45_000.0..55_000.0).contains(&latencies.percentile(95.0)));
    }
}
