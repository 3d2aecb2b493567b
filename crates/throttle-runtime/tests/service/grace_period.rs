//! Tests of the grace period: for a time after the start nothing new is granted.

use std::{collections::BTreeMap, time::Duration};

use throttle_runtime::{Count, Handle, Labels, LockRequest, PeerId, Restoration, Settings};
use tokio::time::sleep;

use crate::{
    memory_store::MemoryStore,
    support::{LEASE, configure, is_pending, join, settle, wait},
};

const GRACE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

fn start(max: u64) -> Handle {
    let semaphores = configure(&[("A", max)]);
    let builder = Handle::builder(Settings::default(), &semaphores);
    builder.grace_period(GRACE).start().expect("there is no store")
}

fn restoration(peer: u64) -> Restoration {
    Restoration {
        peer: PeerId::new(peer).unwrap(),
        expires_in: LEASE,
        locks: BTreeMap::from([("A".to_owned(), Count::ONE)]),
        labels: Labels::default(),
        sequence: None,
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_grace_period_holders_come_back_and_newcomers_queue() {
    let throttle = start(1);
    assert_eq!(throttle.grace_left(), Some(GRACE));
    let newcomer = join(&throttle).await;
    let request = LockRequest::now(Count::ONE);
    assert!(is_pending(throttle.acquire(newcomer, "A", request).await), "although it is free");
    sleep(10 * SECOND).await;
    assert_eq!(throttle.grace_left(), Some(10 * SECOND));
    throttle.restore(restoration(7)).await.unwrap();
    throttle.heartbeat(PeerId::new(7).unwrap(), LEASE).await.unwrap();
    sleep(GRACE).await;
    assert_eq!(throttle.grace_left(), None);
    assert_eq!(throttle.is_acquired(newcomer).await, Ok(false), "the holder came back");
    throttle.release(PeerId::new(7).unwrap(), "A", None).await.unwrap();
    assert_eq!(throttle.is_acquired(newcomer).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn when_the_grace_period_is_over_the_queue_is_served_in_order() {
    let throttle = start(2);
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(wait(&throttle, join(&throttle).await, "A"));
        settle().await;
    }
    sleep(GRACE - Duration::from_millis(1)).await;
    assert!(waiting.iter().all(|request| !request.is_finished()));
    sleep(Duration::from_millis(2)).await;
    settle().await;
    let answered: Vec<_> = waiting.iter().map(|request| request.is_finished()).collect();
    assert_eq!(answered, [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_service_in_its_grace_period_can_drain() {
    let throttle = start(1);
    let waiting = wait(&throttle, join(&throttle).await, "A");
    settle().await;
    throttle.drain();
    assert!(is_pending(waiting.await.unwrap()));
}

/// A holder that the store has never seen may come back until the period is over, however often the server restarts.
#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_what_is_left_of_the_grace_period_of_its_store() {
    let semaphores = configure(&[("A", 1)]);
    let start = |store: &MemoryStore| {
        let builder = Handle::builder(Settings::default(), &semaphores).grace_period(GRACE);
        builder.store(store.open()).start().unwrap()
    };
    let store = MemoryStore::new();
    let throttle = start(&store);
    assert_eq!(throttle.grace_left(), Some(GRACE), "the store is new");
    let newcomer = join(&throttle).await;
    let request = LockRequest::now(Count::ONE);
    assert!(is_pending(throttle.acquire(newcomer, "A", request).await));
    throttle.close().await.unwrap();
    drop(throttle);

    let mut contents = store.contents();
    contents.meta.as_mut().unwrap().made_at.0 -= 5_000;
    let throttle = start(&MemoryStore::of(contents.clone()));
    let left = throttle.grace_left().unwrap();
    assert!(left <= GRACE - 5 * SECOND && left > SECOND, "{left:?}");
    assert!(is_pending(throttle.acquire(newcomer, "A", request).await), "nor by the recovery");
    throttle.restore(restoration(7)).await.unwrap();
    sleep(left).await;
    assert_eq!(throttle.is_acquired(newcomer).await, Ok(false), "the holder came back");

    contents.meta.as_mut().unwrap().made_at.0 -= 60_000;
    let throttle = start(&MemoryStore::of(contents));
    assert_eq!(throttle.grace_left(), None, "the store is older than that");
    assert_eq!(throttle.is_acquired(newcomer).await, Ok(true));
}
