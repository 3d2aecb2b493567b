//! `[metrics]`: what is counted for Prometheus.

use serde::{Deserialize, Serialize};

section! {
    /// What `GET /metrics` tells Prometheus.
    #[derive(Serialize)]
    pub struct Metrics {
        options {
            /// How finely the waiting and holding times of each semaphore are counted: "full" in 14
            /// buckets from a millisecond to a day, which is about 3 kB for each semaphore in each
            /// answer, "coarse" in 5, or "off" not at all.
            histograms: Histograms = Histograms::Full,
        }
        tables {}
    }
}

/// How finely waiting and holding times are counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Histograms {
    /// In 14 buckets.
    Full,
    /// In 5 buckets.
    Coarse,
    /// Not at all.
    Off,
}

impl From<Histograms> for throttle_http::Histograms {
    fn from(histograms: Histograms) -> Self {
        match histograms {
            Histograms::Full => Self::Full,
            Histograms::Coarse => Self::Coarse,
            Histograms::Off => Self::Off,
        }
    }
}
