//! `[metrics]`: what the metrics contain.

use serde::{Deserialize, Serialize};

section! {
    /// The metrics of `GET /metrics`, for Prometheus.
    #[derive(Serialize)]
    pub struct Metrics {
        options {
            /// The histograms of waiting and holding times of each semaphore: "full" with 14 buckets from a
            /// millisecond to a day, which is about 3 kB for each semaphore in each answer; "coarse" with 5;
            /// or "off" for none.
            histograms: Histograms = Histograms::Full,
        }
        tables {}
    }
}

/// How many buckets the histograms of waiting and holding times have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Histograms {
    /// 14 buckets.
    Full,
    /// 5 buckets.
    Coarse,
    /// No histograms.
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
