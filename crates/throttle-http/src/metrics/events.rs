//! Counts what happens in the service, as it happens.

use std::{mem, time::Duration};

use metrics::{Counter, Histogram, Key, Label};
use throttle_runtime::{Afterwork, CancelCause, Event, Observer, SemaphoreId};
use tokio::task;

use super::{Registry, names};

/// Hears of every event within the critical section: each costs an increment or two.
///
/// An entry in a histogram costs more than the event itself. So when very much happens in one step,
/// most entries are put off until the critical section is over.
pub(super) struct Events {
    registry: Registry,
    /// Entries that are put off.
    later: Vec<(Histogram, Duration)>,
    /// How many entries were made in this step.
    entries: usize,
    /// How many peers expired in this step, without locks and with.
    expired: [u64; 2],
    expired_peers: [Counter; 2],
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
            expired_peers: ["false", "true"].map(|held| {
                let labels = vec![Label::new("held", held)];
                names::counter(&*registry, Key::from_parts(names::EXPIRED_PEERS, labels))
            }),
            restored_peers: counter(names::RESTORED_PEERS),
            semaphores: Vec::new(),
            registry,
            later: Vec::new(),
            entries: 0,
            expired: [0; 2],
        }
    }

    /// Enters how long something took, now or later.
    fn enter(&mut self, semaphore: SemaphoreId, which: fn(&Series) -> &Histogram, took: Duration) {
        let Some(histogram) = self.series(semaphore).map(which) else {
            return;
        };
        if self.entries < AT_ONCE {
            histogram.record(took);
            self.entries += 1;
        } else {
            let entry = (histogram.clone(), took);
            self.later.push(entry);
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
                    self.enter(semaphore, |series| &series.wait, waited);
                }
            }
            Event::Released { semaphore, held, .. } => {
                self.enter(semaphore, |series| &series.hold, held);
            }
            Event::Cancelled { semaphore, cause, .. } => {
                if let Some(series) = self.series(semaphore) {
                    series.cancelled(cause).increment(1);
                }
            }
            Event::Expired { locks, .. } => self.expired[usize::from(locks > 0)] += 1,
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

    fn caught_up(&mut self) -> Option<Afterwork> {
        self.entries = 0;
        for (expired, counter) in self.expired.iter_mut().zip(&self.expired_peers) {
            if *expired > 0 {
                counter.increment(mem::take(expired));
            }
        }
        if self.later.is_empty() {
            return None;
        }
        let later = mem::take(&mut self.later);
        Some(Box::pin(enter_in_turns(later)))
    }
}

/// Makes entries that were put off, and lets others have their turn in between.
async fn enter_in_turns(later: Vec<(Histogram, Duration)>) {
    for entries in later.chunks(AT_ONCE) {
        for (histogram, took) in entries {
            histogram.record(*took);
        }
        task::yield_now().await;
    }
}

/// How many entries in histograms one step makes itself. Hardly any step has more.
const AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use metrics_exporter_prometheus::PrometheusBuilder;
    use throttle_runtime::{Ask, Count, Handle, Labels, Level, SemaphoreConfig, Settings};
    use tokio::time;

    use super::*;
    use crate::Metrics;

    #[tokio::test(start_paused = true)]
    async fn locks_that_are_freed_together_are_all_counted_soon_after() {
        let recorder = PrometheusBuilder::new().set_buckets(&[1.0]).unwrap().build_recorder();
        let text = recorder.handle();
        let metrics = Metrics::new(Arc::new(recorder), Arc::new(String::new));
        let db = SemaphoreConfig { max: Count::MAX, level: Level(0) };
        let semaphores = BTreeMap::from([("db".to_owned(), db)]);
        let observer = metrics.observer();
        let handle = Handle::start_observed(Settings::default(), &semaphores, observer);
        let lease = Duration::from_secs(60);
        for _ in 0..2 * AT_ONCE {
            let peer = handle.new_peer(lease, Labels::default()).await.unwrap();
            handle.acquire(peer, "db", Ask::now(Count::ONE)).await.unwrap();
        }
        time::advance(lease).await;
        assert_eq!(handle.peer_count(), 0);
        for _ in 0..4 {
            task::yield_now().await;
        }
        let text = text.render();
        for line in
            ["hold_seconds_count{semaphore=\"db\"} 128", "expired_peers_total{held=\"true\"} 128"]
        {
            assert!(text.contains(&format!("throttle_{line}\n")), "{line} is missing in {text}");
        }
    }
}
