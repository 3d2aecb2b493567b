//! Histograms.
//!
//! The exporter's own histograms keep every sample until a scrape sorts them into buckets, which takes
//! tens of milliseconds, and they cannot be dropped. In these a sample costs about as much as an
//! increment of a counter, and a scrape only reads.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The number of buckets in which the waiting and holding times of a semaphore are counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Histograms {
    /// 14 buckets from a millisecond to a day; 35 lines for each semaphore. The default.
    #[default]
    Full,
    /// 5 of the buckets of `Full`, from 100 milliseconds to an hour; 17 lines for each semaphore.
    Coarse,
    /// No histograms.
    Off,
}

impl Histograms {
    /// The upper bounds of the buckets, in seconds.
    pub(super) const fn bounds(self) -> &'static [f64] {
        match self {
            Self::Full => &[
                0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0,
                14_400.0, 86_400.0,
            ],
            Self::Coarse => &[0.1, 1.0, 15.0, 300.0, 3_600.0],
            Self::Off => &[],
        }
    }
}

/// Counts values, such as durations, in buckets.
///
/// [`Metrics::histogram`](super::Metrics::histogram) makes one. Counting a value costs a few atomic operations.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and a last one for greater values.
    counts: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    /// A histogram with these upper bounds, in ascending order.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0.0_f64.to_bits()) }
    }

    /// Counts a duration, in seconds.
    pub fn record(&self, took: Duration) {
        self.observe(took.as_secs_f64());
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.update(Relaxed, Relaxed, |sum| (f64::from_bits(sum) + value).to_bits());
    }

    /// The upper bounds of all buckets but the last.
    pub(super) const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// The number of values in each bucket, from the lowest bucket on.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(|count| count.load(Relaxed))
    }

    /// The sum of all values.
    pub(super) fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_lowest_bucket_that_holds_it() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        for millis in [0, 500, 501, 1_000, 1_001, 60_000] {
            histogram.record(Duration::from_millis(millis));
        }
        assert_eq!(histogram.counts().collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(histogram.sum(), 63.002);
    }

    #[test]
    fn coarse_buckets_are_among_the_full_ones() {
        let full = Histograms::Full.bounds();
        assert!(full.is_sorted());
        assert!(Histograms::Coarse.bounds().iter().all(|bound| full.contains(bound)));
    }
}
