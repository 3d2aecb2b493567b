//! What the service itself tells of its doings at each reading.

use metrics::{Counter, Gauge, Key, Recorder};
use throttle_runtime::{Handle, OpenWaits};

use super::names;

/// Series that are about no semaphore.
pub(super) struct Service {
    stalled: Counter,
    stalls: Counter,
    open_waits: Gauge,
    open_waits_limit: Gauge,
    waits_cut_short: Counter,
}

impl Service {
    pub(super) fn new(recorder: &dyn Recorder) -> Self {
        let counter = |name| names::counter(recorder, Key::from_static_name(name));
        let gauge = |name| names::gauge(recorder, Key::from_static_name(name));
        Self {
            stalled: counter(names::STALLED),
            stalls: counter(names::STALLS),
            open_waits: gauge(names::OPEN_WAITS),
            open_waits_limit: gauge(names::OPEN_WAITS_LIMIT),
            waits_cut_short: counter(names::WAITS_CUT_SHORT),
        }
    }

    /// Takes over how things stand now.
    pub(super) fn read(&self, handle: &Handle) {
        let stalls = handle.stalls();
        self.stalled.absolute(stalls.total.as_secs());
        self.stalls.absolute(stalls.count);
        let OpenWaits { open, limit, cut_short, .. } = handle.open_waits();
        self.open_waits.set(open as f64);
        // No limit at all is no number that fits into a chart.
        self.open_waits_limit.set(if limit == usize::MAX { f64::INFINITY } else { limit as f64 });
        self.waits_cut_short.absolute(cut_short);
    }
}
