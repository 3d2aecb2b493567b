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

#[tokio::test(start_paused = true)]
async fn there_is_no_grace_period_if_the_state_was_recovered() {
    let store = MemoryStore::new();
    let semaphores = configure(&[("A", 1)]);
    let start = || {
        let builder = Handle::builder(Settings::default(), &semaphores).grace_period(GRACE);
        builder.store(store.open()).start().unwrap()
    };
    let throttle = start();
    assert_eq!(throttle.grace_left(), Some(GRACE), "the store is new");
    throttle.close().await.unwrap();
    drop(throttle);
    let throttle = start();
    assert_eq!(throttle.grace_left(), None);
    let peer = join(&throttle).await;
    let admission = throttle.acquire(peer, "A", LockRequest::now(Count::ONE)).await;
    assert!(admission.unwrap().is_granted());
}
