//! Counts what happens in the service, as it happens.

use metrics::{Counter, Histogram, Key, Label};
use throttle_runtime::{CancelCause, Event, Observer, SemaphoreId};

use super::{Registry, names};

/// Hears of every event within the critical section: each costs an increment or two.
pub(super) struct Events {
    registry: Registry,
    expired_peers: Counter,
    restored_peers: Counter,
    /// By the position of the semaphore in the order of creation.
    semaphores: Vec<Option<Series>>,
}

/// What is counted of one semaphore.
struct Series {
    grants: Counter,
    wait: Histogram,
    hold: Histogram,
    abandoned: Counter,
    never_acquirable: Counter,
    peer_gone: Counter,
    withdrawn: Counter,
}

impl Events {
    pub(super) fn new(registry: Registry) -> Self {
        let counter = |name| names::counter(&*registry, Key::from_static_name(name));
        Self {
            expired_peers: counter(names::EXPIRED_PEERS),
            restored_peers: counter(names::RESTORED_PEERS),
            semaphores: Vec::new(),
            registry,
        }
    }

    fn series(&self, semaphore: SemaphoreId) -> Option<&Series> {
        self.semaphores.get(semaphore.index())?.as_ref()
    }
}

impl Series {
    fn new(registry: &Registry, semaphore: &str) -> Self {
        let key = |name, cause: Option<&'static str>| {
            let cause = cause.map(|cause| Label::new("cause", cause));
            let labels = [names::semaphore(semaphore)].into_iter().chain(cause);
            Key::from_parts(name, labels.collect::<Vec<_>>())
        };
        let cancelled = |cause| names::counter(&**registry, key(names::CANCELLED, Some(cause)));
        Self {
            grants: names::counter(&**registry, key(names::GRANTS, None)),
            wait: names::histogram(&**registry, key(names::WAIT, None)),
            hold: names::histogram(&**registry, key(names::HOLD, None)),
            abandoned: cancelled("abandoned"),
            never_acquirable: cancelled("never_acquirable"),
            peer_gone: cancelled("peer_gone"),
            withdrawn: cancelled("withdrawn"),
        }
    }

    fn cancelled(&self, cause: CancelCause) -> &Counter {
        match cause {
            CancelCause::Abandoned => &self.abandoned,
            CancelCause::NeverAcquirable { .. } => &self.never_acquirable,
            CancelCause::PeerGone => &self.peer_gone,
            CancelCause::Withdrawn => &self.withdrawn,
        }
    }
}

impl Observer for Events {
    fn semaphore_added(&mut self, id: SemaphoreId, name: &str) {
        let length = self.semaphores.len().max(id.index() + 1);
        self.semaphores.resize_with(length, || None);
        self.semaphores[id.index()] = Some(Series::new(&self.registry, name));
    }

    fn semaphore_removed(&mut self, id: SemaphoreId) {
        self.semaphores[id.index()] = None;
    }

    fn event(&mut self, event: &Event) {
        match *event {
            Event::Granted { semaphore, waited, .. } => {
                // A lock that was restored is neither a new grant nor was it waited for.
                if let (Some(series), Some(waited)) = (self.series(semaphore), waited) {
                    series.grants.increment(1);
                    series.wait.record(waited);
                }
            }
            Event::Released { semaphore, held, .. } => {
                if let Some(series) = self.series(semaphore) {
                    series.hold.record(held);
                }
            }
            Event::Cancelled { semaphore, cause, .. } => {
                if let Some(series) = self.series(semaphore) {
                    series.cancelled(cause).increment(1);
                }
            }
            Event::Expired { .. } => self.expired_peers.increment(1),
            Event::Restored { .. } => self.restored_peers.increment(1),
            Event::Parked { .. }
            | Event::PeerCreated { .. }
            | Event::Queued { .. }
            | Event::Removed { .. }
            | Event::Resized { .. }
            | Event::Resumed { .. }
            | Event::Shrunk { .. } => {}
        }
    }
}
