//! How long things take, counted in buckets.
//!
//! The exporter's own histograms keep every sample until somebody puts them into buckets, which takes
//! tens of milliseconds at a time, and cannot be dropped. These are in order at any time: an entry costs
//! about as much as a counter, and to read them disturbs nobody.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// In how many buckets the waiting and holding times of a semaphore are counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Histograms {
    /// In 14 of them, from a millisecond to a day; 35 lines for each semaphore. The default.
    #[default]
    Full,
    /// In 5 of them, which are among those of `Full`: from 100 milliseconds to an hour; 17 lines.
    Coarse,
    /// Not at all: neither counted nor written.
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

/// Counts durations by the bucket they fall into.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds: the last one is for what is above all of them.
    counts: Box<[AtomicU64]>,
    /// Bits of a floating-point number, in seconds.
    sum: AtomicU64,
}

impl Histogram {
    /// A histogram with these upper bounds in seconds, which grow.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0.0_f64.to_bits()) }
    }

    /// Counts one more.
    pub(super) fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.partition_point(|&bound| bound < seconds);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.update(Relaxed, Relaxed, |sum| (f64::from_bits(sum) + seconds).to_bits());
    }

    /// How many there are in each bucket, from the lowest on.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(|count| count.load(Relaxed))
    }

    /// The sum of all durations, in seconds.
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
