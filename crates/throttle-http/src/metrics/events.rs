//! Counts what happens in the service, as it happens.

use std::sync::Arc;

use metrics::{Counter, Key, Recorder};
use throttle_runtime::{Event, Observer, SemaphoreId};

use super::{
    histogram::Histograms,
    names,
    series::{Register, Series},
};

/// Hears of every event within the critical section: each costs an increment or two.
pub(super) struct Events {
    expired_holders: Counter,
    expired_peers: Counter,
    restored_peers: Counter,
    histograms: Histograms,
    /// By the position of the semaphore in the order of creation, from its first event on.
    series: Vec<Option<Arc<Series>>>,
    /// The same, for those who read them.
    register: Arc<Register>,
}

impl Events {
    pub(super) fn new(
        recorder: &dyn Recorder,
        histograms: Histograms,
        register: Arc<Register>,
    ) -> Self {
        let counter = |name| names::counter(recorder, Key::from_static_name(name));
        Self {
            expired_holders: counter(names::EXPIRED_HOLDERS),
            expired_peers: counter(names::EXPIRED_PEERS),
            restored_peers: counter(names::RESTORED_PEERS),
            histograms,
            series: Vec::new(),
            register,
        }
    }

    fn series(&mut self, semaphore: SemaphoreId) -> &Series {
        let index = semaphore.index();
        if self.series.len() <= index {
            self.series.resize_with(index + 1, || None);
        }
        self.series[index].get_or_insert_with(|| {
            let series = Arc::new(Series::new(self.histograms));
            self.register.add(semaphore, Arc::clone(&series));
            series
        })
    }
}

impl Observer for Events {
    /// Its series come with its first event, so that a configuration with very many is no work now.
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, semaphore: SemaphoreId) {
        if let Some(series) = self.series.get_mut(semaphore.index()).and_then(Option::take) {
            self.register.remove(semaphore);
            drop(series);
        }
    }

    fn event(&mut self, event: &Event) {
        match *event {
            // A lock that was restored is neither a new grant nor was it waited for.
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
            | Event::Parked { .. }
            | Event::PeerCreated { .. }
            | Event::Queued { .. }
            | Event::Removed { .. }
            | Event::Resized { .. }
            | Event::Resumed { .. }
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

    /// Series of removed semaphores cost neither memory nor time.
    #[tokio::test(start_paused = true)]
    async fn series_come_with_the_first_event_and_go_with_their_semaphore() {
        let register = Arc::new(Register::default());
        let recorder = PrometheusBuilder::new().build_recorder();
        let events = Events::new(&recorder, Histograms::Full, Arc::clone(&register));
        let configured = |names: &[&str]| -> BTreeMap<_, _> {
            let semaphore = SemaphoreConfig { max: Count::ONE, level: Level(0) };
            names.iter().map(|&name| (name.to_owned(), semaphore)).collect()
        };
        let settings = Settings::default();
        let handle = Handle::start_observed(settings, &configured(&["A", "B"]), Box::new(events));
        let series = |handle: &Handle| {
            let ids = handle.semaphores().into_iter().map(|semaphore| semaphore.id);
            register.find(ids).into_iter().flatten().collect::<Vec<_>>()
        };
        assert!(series(&handle).is_empty(), "nothing has happened");
        let peer = handle.new_peer(Duration::from_secs(60), Labels::default()).await.unwrap();
        for _ in 0..2 {
            handle.acquire(peer, "A", LockRequest::now(Count::ONE)).await.unwrap();
            handle.release(peer, "A", None).await.unwrap();
        }
        let of_a = Arc::downgrade(&series(&handle)[0]);
        assert_eq!(of_a.upgrade().unwrap().grants.get(), 2);
        handle.reconfigure(settings, &configured(&["B"])).unwrap();
        assert_eq!(of_a.strong_count(), 0);
        // A semaphore of the same name starts anew.
        handle.reconfigure(settings, &configured(&["A", "B"])).unwrap();
        assert!(series(&handle).is_empty());
    }
}
