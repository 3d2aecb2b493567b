//! The counters and histograms of each semaphore.
//!
//! They are made with the first event of the semaphore and dropped with it. The exporter cannot delete
//! a series, so it does not keep them.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use throttle_runtime::{CancelCause, SemaphoreId};

use super::histogram::{Histogram, Histograms};

/// The counters and histograms of one semaphore.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) grants: Counter,
    /// By cause, in the order of [`CAUSES`].
    pub(super) cancelled: [Counter; CAUSES.len()],
    /// `None` if histograms are off.
    pub(super) wait: Option<Histogram>,
    pub(super) hold: Option<Histogram>,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

/// The series of all semaphores that have had an event, by the index of the semaphore.
#[derive(Debug, Default)]
pub(super) struct SeriesRegistry(Mutex<Vec<Option<Arc<Series>>>>);

/// Values of the label `cause`, sorted.
pub(super) const CAUSES: [&str; 5] =
    ["abandoned", "never_acquirable", "peer_gone", "semaphore_retired", "withdrawn"];

impl Series {
    pub(super) fn new(histograms: Histograms) -> Self {
        let histogram = || {
            let bounds = histograms.bounds();
            (!bounds.is_empty()).then(|| Histogram::new(bounds))
        };
        Self {
            grants: Counter::default(),
            cancelled: Default::default(),
            wait: histogram(),
            hold: histogram(),
        }
    }

    pub(super) fn cancelled(&self, cause: CancelCause) -> &Counter {
        let [abandoned, never_acquirable, peer_gone, semaphore_retired, withdrawn] =
            &self.cancelled;
        match cause {
            CancelCause::Abandoned => abandoned,
            CancelCause::NeverAcquirable { .. } => never_acquirable,
            CancelCause::PeerGone => peer_gone,
            CancelCause::SemaphoreRetired => semaphore_retired,
            CancelCause::Withdrawn => withdrawn,
        }
    }
}

impl Counter {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl SeriesRegistry {
    /// Adds the series of a semaphore.
    pub(super) fn add(&self, semaphore: SemaphoreId, series: Arc<Series>) {
        let mut all = self.all();
        let length = all.len().max(semaphore.index() + 1);
        all.resize_with(length, || None);
        all[semaphore.index()] = Some(series);
    }

    /// Drops the series of a semaphore, if there are any.
    pub(super) fn remove(&self, semaphore: SemaphoreId) {
        if let Some(series) = self.all().get_mut(semaphore.index()) {
            *series = None;
        }
    }

    /// The series of these semaphores, in the same order.
    pub(super) fn find(
        &self,
        semaphores: impl Iterator<Item = SemaphoreId>,
    ) -> Vec<Option<Arc<Series>>> {
        let all = self.all();
        semaphores.map(|semaphore| all.get(semaphore.index()).cloned().flatten()).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Option<Arc<Series>>>> {
        self.0.lock().expect("nothing in here panics")
    }
}
