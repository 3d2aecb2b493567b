//! Tests of the life of a service: what an observer sees of it, its end, and the next one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use throttle_runtime::{
    Admission, Count, Event, Handle, LockRequest, Observer, SemaphoreId, Settings,
};

use crate::support::{Journal, configure, hold, join, settle, start, wait};

#[tokio::test(start_paused = true)]
async fn an_observer_receives_every_event_in_order() {
    let journal = Journal::default();
    let entries = Arc::clone(&journal.0);
    let throttle =
        Handle::start_observed(Settings::default(), &configure(&[("A", 1)]), Box::new(journal));
    let holder = hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    let waiting = wait(&throttle, waiter, "A");
    settle().await;
    throttle.remove_peer(holder, None).await.unwrap();
    waiting.await.unwrap().unwrap();
    throttle.release(waiter, "A", None).await.unwrap();
    throttle.reconfigure(Settings::default(), &configure(&[])).await.unwrap();
    assert_eq!(
        *entries.lock().unwrap(),
        [
            "A added",
            "PeerCreated",
            "Granted",
            "PeerCreated",
            "Queued",
            "Released",
            "Removed",
            "Granted",
            "Released",
            "0 removed",
        ]
    );
}

/// Records that it was dropped, as it is with the state.
struct Canary(Arc<AtomicBool>);

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Observer for Canary {
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, _: SemaphoreId) {}

    fn event(&mut self, _: &Event) {}
}

#[tokio::test(start_paused = true)]
async fn the_service_ends_with_its_last_handle() {
    let gone = Arc::new(AtomicBool::new(false));
    let observer = Box::new(Canary(Arc::clone(&gone)));
    let throttle = Handle::start_observed(Settings::default(), &configure(&[]), observer);
    join(&throttle).await;
    let clone = throttle.clone();
    drop(throttle);
    settle().await;
    assert!(!gone.load(Ordering::Relaxed));
    drop(clone);
    settle().await;
    assert!(gone.load(Ordering::Relaxed), "the timer does not keep the service alive");
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

/// S10, across restarts.
#[tokio::test(start_paused = true)]
async fn tokens_of_a_later_service_are_greater() {
    let mut last = None;
    for _ in 0..3 {
        let throttle = start(&[("A", 1)]);
        let peer = join(&throttle).await;
        for _ in 0..10 {
            let Admission::Granted { token, .. } =
                throttle.acquire(peer, "A", LockRequest::now(Count::ONE)).await.unwrap()
            else {
                panic!("the semaphore is free")
            };
            assert!(last < Some(token), "{last:?} came before {token}");
            last = Some(token);
            throttle.release(peer, "A", None).await.unwrap();
        }
    }
}
