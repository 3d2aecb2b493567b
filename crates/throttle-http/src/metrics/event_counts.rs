//! Counts the events of the service. The names and helps of the counters are in `counters`, those of single
//! semaphores in `semaphore_families`.

use std::sync::Arc;

use metrics::{Counter, Key, Recorder};
use throttle_runtime::{Event, Observer, SemaphoreId};

use super::{
    counters,
    histogram::Histograms,
    semaphore_series::{Series, SeriesRegistry},
};

/// Observes every event under the lock of the state, so an event costs no more than an increment or two.
pub(super) struct EventCounts {
    expired_holders: Counter,
    expired_peers: Counter,
    restored_peers: Counter,
    histograms: Histograms,
    /// By the index of the semaphore; `None` until its first event.
    series: Vec<Option<Arc<Series>>>,
    /// The same series, for scrapes.
    registry: Arc<SeriesRegistry>,
}

impl EventCounts {
    pub(super) fn new(
        recorder: &dyn Recorder,
        histograms: Histograms,
        registry: Arc<SeriesRegistry>,
    ) -> Self {
        let counter = |name| counters::register(recorder, Key::from_static_name(name));
        Self {
            expired_holders: counter(counters::EXPIRED_HOLDERS),
            expired_peers: counter(counters::EXPIRED_PEERS),
            restored_peers: counter(counters::RESTORED_PEERS),
            histograms,
            series: Vec::new(),
            registry,
        }
    }

    fn series(&mut self, semaphore: SemaphoreId) -> &Series {
        let index = semaphore.index();
        if self.series.len() <= index {
            self.series.resize_with(index + 1, || None);
        }
        self.series[index].get_or_insert_with(|| {
            let series = Arc::new(Series::new(self.histograms));
            self.registry.add(semaphore, Arc::clone(&series));
            series
        })
    }
}

impl Observer for EventCounts {
    /// Series are made with the first event, so adding very many semaphores costs nothing here.
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, semaphore: SemaphoreId) {
        if let Some(series) = self.series.get_mut(semaphore.index()).and_then(Option::take) {
            self.registry.remove(semaphore);
            drop(series);
        }
    }

    fn event(&mut self, event: &Event) {
        match *event {
            // A restored lock (`waited: None`) is not a new grant, and nobody waited for it.
            Event::Granted { semaphore, waited: Some(waited), .. } => {
                let series = self.series(semaphore);
                series.grants.increment();
                if let Some(wait) = &series.wait {
                    wait.record(waited);
                }
            }
            Event::Released { semaphore, held, .. } => {
                if let Some(hold) = &self.series(semaphore).hold {
                    hold.record(held);
                }
            }
            Event::Cancelled { semaphore, cause, .. } => {
                self.series(semaphore).cancelled(cause).increment();
            }
            Event::Expired { locks, .. } => {
                self.expired_peers.increment(1);
                if locks > 0 {
                    self.expired_holders.increment(1);
                }
            }
            Event::Restored { .. } => self.restored_peers.increment(1),
            Event::Granted { waited: None, .. }
            | Event::LeaseChanged { .. }
            | Event::LevelChanged { .. }
            | Event::Parked { .. }
            | Event::PeerCreated { .. }
            | Event::Queued { .. }
            | Event::Removed { .. }
            | Event::Resized { .. }
            | Event::Resumed { .. }
            | Event::SemaphoreRemoved { .. }
            | Event::Shrunk { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use metrics_exporter_prometheus::PrometheusBuilder;
    use throttle_runtime::{Count, Handle, Labels, Level, LockRequest, SemaphoreConfig, Settings};

    use super::*;

    /// A removed semaphore must cost neither memory nor time.
    #[tokio::test(start_paused = true)]
    async fn series_are_made_with_the_first_event_and_dropped_with_their_semaphore() {
        let registry = Arc::new(SeriesRegistry::default());
        let recorder = PrometheusBuilder::new().build_recorder();
        let events = EventCounts::new(&recorder, Histograms::Full, Arc::clone(&registry));
        let configured = |names: &[&str]| -> BTreeMap<_, _> {
            let semaphore = SemaphoreConfig { max: Count::ONE, level: Level(0) };
            names.iter().map(|&name| (name.to_owned(), semaphore)).collect()
        };
        let settings = Settings::default();
        let handle = Handle::start_observed(settings, &configured(&["A", "B"]), Box::new(events));
        let series = async |handle: &Handle| {
            let ids = handle.semaphores().await.unwrap().into_iter().map(|semaphore| semaphore.id);
            registry.find(ids).into_iter().flatten().collect::<Vec<_>>()
        };
        assert!(series(&handle).await.is_empty(), "nothing has happened");
        let peer = handle.new_peer(Duration::from_secs(60), Labels::default()).await.unwrap();
        for _ in 0..2 {
            handle.acquire(peer, "A", LockRequest::now(Count::ONE)).await.unwrap();
            handle.release(peer, "A", None).await.unwrap();
        }
        let of_a = Arc::downgrade(&series(&handle).await[0]);
        assert_eq!(of_a.upgrade().unwrap().grants.get(), 2);
        handle.reconfigure(settings, &configured(&["B"])).await.unwrap();
        assert_eq!(of_a.strong_count(), 0);
        // A new semaphore of the same name starts without series.
        handle.reconfigure(settings, &configured(&["A", "B"])).await.unwrap();
        assert!(series(&handle).await.is_empty());
    }
}
