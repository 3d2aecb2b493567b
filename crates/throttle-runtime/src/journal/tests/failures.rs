//! D4: what happens when the store fails, and at its end.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use throttle_core::Count;

use super::{memory_store::Plan, *};
use crate::{error::Error, failure::Failure, store::StoreError};

const WAIT: LockRequest =
    LockRequest { block_for: Some(Duration::from_secs(30)), ..LockRequest::now(Count::ONE) };

const SECOND: Duration = Duration::from_secs(1);

async fn fail(plan: Plan) -> StoreError {
    let mut service = Service::start(&[("A", 1), ("B", 1)]);
    let (holder, waiter, other) =
        (service.hold("A").await, service.join().await, service.join().await);
    let handle = service.handle.clone();
    let before = service.store.contents();
    let mut waiting = Box::pin(handle.acquire(waiter, "A", WAIT));
    assert!(poll(&mut waiting).is_pending());
    service.flush();
    let mut still_waiting = Box::pin(handle.acquire(other, "B", WAIT));
    assert!(poll(&mut still_waiting).is_pending(), "granted, but not durable");
    let mut released = Box::pin(handle.release(holder, "A", None));
    let mut listed = Box::pin(handle.peer_count());
    assert!(poll(&mut released).is_pending());
    assert!(poll(&mut listed).is_pending());
    let mut failed = Box::pin(handle.failed());
    assert!(poll(&mut failed).is_pending());

    service.store.plan(plan);
    service.flush();
    assert_eq!(ready(&mut failed), Failure::Store);
    assert_eq!(ready(&mut released), Err(Error::StoreFailed));
    assert_eq!(ready(&mut listed), Err(Error::StoreFailed));
    assert_eq!(ready(&mut waiting), Err(Error::StoreFailed), "the grant is not durable");
    assert_eq!(ready(&mut still_waiting), Err(Error::StoreFailed));
    let mut later = Box::pin(handle.heartbeat(holder, LEASE));
    assert_eq!(ready(&mut later), Err(Error::StoreFailed));
    assert_eq!(handle.applied().peer_count(), Err(Error::StoreFailed));
    assert_eq!(handle.open_waits().open, 0);
    service.store.plan(Plan::Succeed);
    service.flush();
    let after = service.store.contents();
    assert_eq!(after.peers[&holder], before.peers[&holder], "it is never written again");
    let mut closed = Box::pin(handle.close());
    ready(&mut closed).unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_ends_everything_that_waits_and_all_that_follows() {
    assert_eq!(fail(Plan::Fail).await.to_string(), "the disk is full");
}

#[tokio::test(start_paused = true)]
async fn so_does_a_store_that_panics() {
    assert_eq!(fail(Plan::Panic).await.to_string(), "the store panicked");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_the_start_refuses_it() {
    let store = MemoryStore::new();
    store.plan(Plan::Fail);
    let semaphores = configure(&[("A", 1)]);
    let refused = Handle::builder(Settings::default(), &semaphores).store(store.open()).start();
    assert_eq!(refused.unwrap_err().to_string(), "the disk is full");
    assert!(!store.is_open());
}

/// A panic of an operation while others wait until they are durable.
#[tokio::test(start_paused = true)]
async fn answers_that_are_held_back_fail_when_an_operation_panics() {
    let mut service = Service::start(&[]);
    let handle = service.handle.clone();
    let mut joined = Box::pin(handle.new_peer(LEASE, Labels::default()));
    assert!(poll(&mut joined).is_pending());
    let clone = handle.clone();
    let panics =
        tokio::spawn(async move { clone.look(|_| panic!("a defect that the test wants")).await });
    let panicked: Result<Result<(), Error>, _> = panics.await;
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!(ready(&mut joined), Err(Error::Failed));
    assert!(matches!(service.writer.step(&handle.service), Step::Failed));
    assert_eq!(handle.failure(), Some(Failure::Operation));
}

/// A panic while a batch is read.
#[tokio::test(start_paused = true)]
async fn answers_that_are_held_back_fail_when_the_writer_panics() {
    let mut service = Service::start(&[("A", 1)]);
    let handle = service.handle.clone();
    let peer = service.join().await;
    let mut granted = Box::pin(handle.acquire(peer, "A", NOW));
    assert!(poll(&mut granted).is_pending());
    handle.service.with_state(|state, _, _| state.names = Arc::default());
    let step = panic::catch_unwind(AssertUnwindSafe(|| service.writer.step(&handle.service)));
    step.expect_err("semaphore A has no name");
    assert_eq!(ready(&mut granted), Err(Error::Failed));
    assert_eq!(handle.failure(), Some(Failure::Operation));
}

/// S8: its lease begins with the answer, which comes when the store goes on.
#[tokio::test(start_paused = true)]
async fn no_lease_ends_while_the_store_hangs() {
    let mut service = Service::start(&[("A", 1)]);
    let handle = service.handle.clone();
    let (holder, waiter) = (service.hold("A").await, service.join().await);
    let mut waiting = Box::pin(handle.acquire(waiter, "A", WAIT));
    assert!(poll(&mut waiting).is_pending());
    service.flush();
    let mut released = Box::pin(handle.release(holder, "A", None));
    assert!(poll(&mut released).is_pending());
    let in_flight = service.writer.take(&handle.service).expect("a lock was granted");
    let quarter = Duration::from_millis(250);
    let time_passes = async |time: Duration| {
        for _ in 0..time.as_millis() / quarter.as_millis() {
            tokio::time::sleep(quarter).await;
            handle.service.with_state(|_, _, _| {});
        }
    };
    time_passes(3 * LEASE).await;
    service.writer.finish(&handle.service, in_flight);
    service.flush();
    assert!(ready(&mut waiting).unwrap().is_granted());
    time_passes(LEASE - 3 * SECOND).await;
    assert_eq!(handle.applied().peer_count(), Ok(2));
    time_passes(3 * SECOND).await;
    assert_eq!(handle.applied().peer_count(), Ok(0), "the leases run again");
}

#[tokio::test(start_paused = true)]
async fn closing_makes_everything_durable_and_releases_the_store() {
    let store = MemoryStore::new();
    let semaphores = configure(&[("A", 1)]);
    let handle =
        Handle::builder(Settings::default(), &semaphores).store(store.open()).start().unwrap();
    let holder = handle.new_peer(LEASE, Labels::default()).await.unwrap();
    handle.acquire(holder, "A", NOW).await.unwrap();
    let waiter = handle.new_peer(LEASE, Labels::default()).await.unwrap();
    let clone = handle.clone();
    let waiting = tokio::spawn(async move { clone.acquire(waiter, "A", WAIT).await });
    tokio::task::yield_now().await;
    let mut released = Box::pin(handle.release(holder, "A", None));
    assert!(poll(&mut released).is_pending());
    handle.close().await.unwrap();
    assert!(!store.is_open());
    assert_eq!(released.await, Ok(throttle_core::Release::Released));
    assert!(waiting.await.unwrap().unwrap().is_granted());
    assert_eq!(store.contents().peers[&waiter].held.len(), 1);
    assert_eq!(handle.remainder("A").await, Err(Error::StoreFailed));
    handle.close().await.expect("it is closed");
    tokio::time::sleep(2 * LEASE).await;
    assert_eq!(handle.failure(), None, "its timer has ended too, and that is no failure");
    assert_eq!(store.contents().peers.len(), 2, "no lease ends any more");
}
