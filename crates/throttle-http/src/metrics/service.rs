//! What the service itself tells of its doings at each reading.

use metrics::{Counter, Key};
use throttle_runtime::Handle;

use super::{Registry, names};

/// Series that are about no semaphore.
pub(super) struct Service {
    stalled: Counter,
    stalls: Counter,
}

impl Service {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name| names::counter(&**registry, Key::from_static_name(name));
        Self { stalled: counter(names::STALLED), stalls: counter(names::STALLS) }
    }

    /// Takes over how things stand now.
    pub(super) fn read(&self, handle: &Handle) {
        let stalls = handle.stalls();
        self.stalled.absolute(stalls.total.as_secs());
        self.stalls.absolute(stalls.count);
    }
}
