//! Settings: limits and time spans.

use core::time::Duration;

/// Limits and time spans. They may change while the machine runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How long a waiter whose connection broke keeps its place without asking again. Default: 10 s.
    pub abandoned_after: Duration,
    /// The most bytes that the labels of all peers may take, as [`Labels::bytes`](crate::Labels::bytes)
    /// counts them. Default: 256 MiB.
    pub max_label_bytes: u64,
    /// The most peers at a time. Default: two million.
    pub max_peers: u32,
    /// The most waiters for one semaphore at a time. Default: one million.
    pub max_waiters: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            abandoned_after: Duration::from_secs(10),
            max_label_bytes: 256 << 20,
            max_peers: 2_000_000,
            max_waiters: 1_000_000,
        }
    }
}
