//! The loads for servers, one file each.

mod contend;
mod dialect;
mod etcd;
mod exclusion;
mod pause_probe;
mod populate;
mod scenario;
mod serve;

pub(crate) use self::{
    contend::Contend,
    dialect::{Dialect, Operation},
    pause_probe::PauseProbe,
    populate::{Lease, peers_of_connections, populate, remove_peers},
    scenario::{Scenario, ScenarioLoad},
    serve::{Serve, queue_up},
};

use std::time::Duration;

use hdrhistogram::Histogram;

/// A histogram of latencies, with three digits of precision.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).expect("five minutes fit");
        Self(Histogram::new_with_max(longest, 3).expect("three digits are few enough"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records the latency of a request that is sent every `pace`. If it takes longer than that, the requests
    /// that were due meanwhile are recorded as well, each with the time that it would have waited.
    pub(crate) fn record_at_pace(&mut self, latency: Duration, pace: Duration) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let latency = nanos(latency.min(LONGEST));
        self.0.record_correct(latency, nanos(pace)).expect("it is not too long for the histogram");
    }

    /// Adds the values of another histogram.
    pub(crate) fn add(&mut self, others: &Self) {
        self.0.add(&others.0).expect("all histograms are alike");
    }

    /// The number of values.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that `percent` of all values do not exceed, in microseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1e3
    }

    /// The largest value, in microseconds.
    pub(crate) fn longest(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

/// Longer latencies are recorded as this one.
const LONGEST: Duration = Duration::from_secs(300);

/// A semaphore that is large enough for all requests.
pub(crate) const AMPLE: &str = "ample";
/// Its maximum.
pub(crate) const AMPLE_MAX: u64 = 100_000_000;
/// A mutex.
pub(crate) const MUTEX: &str = "mutex";
/// A semaphore that one peer holds, so that all others queue.
pub(crate) const TAKEN: &str = "taken";
/// The name of one of many semaphores.
pub(crate) fn numbered(number: usize) -> String {
    format!("s{number}")
}

/// A lease that is longer than any measurement.
pub(crate) const LONG: &str = "12h";
/// The query of a request that waits for its lock for longer than any measurement takes.
pub(crate) const BLOCKING: &str = "?block_for=1h";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_were_due_during_a_pause_count_as_well() {
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
