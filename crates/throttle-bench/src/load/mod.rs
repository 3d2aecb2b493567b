//! What servers are loaded with, one file for each kind of load.

mod contend;
mod populate;
mod queue;
mod steady;
mod turns;

pub(crate) use self::{
    contend::Contend,
    populate::{Lease, populate},
    queue::{Queue, line_up},
    steady::{Steady, Work},
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
/// Longer than any measurement.
pub(crate) const LONG: &str = "12h";
/// Waits for a lock for longer than any measurement takes.
pub(crate) const BLOCKING: &str = "?block_for=1h";
