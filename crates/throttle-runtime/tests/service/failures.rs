//! Tests of a service that fails: it reports the failure and ends all waits.

use std::time::Duration;

use throttle_runtime::{
    Admission, Count, Error, Event, Failure, Handle, Labels, LockRequest, Observer, PeerId,
    SemaphoreId, Settings,
};
use tokio::{runtime::Builder, sync::oneshot, time::sleep};

use crate::support::{BLOCK_FOR, configure, hold, join, settle, wait};

/// Panics in the critical section at an event of this kind.
struct Fragile(fn(&Event) -> bool);

impl Observer for Fragile {
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, _: SemaphoreId) {}

    fn event(&mut self, event: &Event) {
        assert!(!self.0(event), "a defect that the test wants");
    }
}

fn start(panics_at: fn(&Event) -> bool) -> Handle {
    let observer = Box::new(Fragile(panics_at));
    Handle::start_observed(Settings::default(), &configure(&[("A", 1)]), observer)
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_operation_is_reported_and_ends_all_waits_at_once() {
    let throttle = start(|event| matches!(event, Event::Released { .. }));
    let holder = hold(&throttle, "A", 1).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(wait(&throttle, join(&throttle).await, "A"));
    }
    let failed = tokio::spawn(throttle.failed());
    settle().await;
    assert!(!failed.is_finished());
    assert_eq!(throttle.failure(), None);

    let clone = throttle.clone();
    let release = tokio::spawn(async move { clone.release(holder, "A", None).await });
    assert!(release.await.unwrap_err().is_panic());
    settle().await;
    for request in waiting {
        assert!(request.is_finished(), "it is still waiting");
        assert_eq!(request.await.unwrap(), Err(Error::Failed));
    }
    assert!(failed.is_finished());
    assert_eq!(failed.await.unwrap(), Failure::Operation);
    assert_eq!(throttle.failure(), Some(Failure::Operation));
    assert_eq!(throttle.heartbeat(holder, BLOCK_FOR).await, Err(Error::Failed));
    assert_eq!(
        throttle.acquire(holder, "A", LockRequest::now(Count::ONE)).await,
        Err(Error::Failed)
    );
    assert_eq!(throttle.remove_peer(holder, None).await, Err(Error::Failed));
    assert_eq!(throttle.remainder("A").await, Err(Error::Failed));
    assert_eq!(throttle.peer_count().await, Err(Error::Failed), "the state cannot be trusted");
    throttle.drain();
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_the_timer_ends_leases_is_reported() {
    let throttle = start(|event| matches!(event, Event::Expired { .. }));
    let peer = throttle.new_peer(Duration::from_secs(1), Labels::default()).await.unwrap();
    throttle.acquire(peer, "A", LockRequest::now(Count::ONE)).await.unwrap();
    let waiting = wait(&throttle, join(&throttle).await, "A");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(waiting.await.unwrap(), Err(Error::Failed));
    assert_eq!(throttle.failed().await, Failure::Operation);
}

/// The request that panics is the one that was about to wait.
#[tokio::test(start_paused = true)]
async fn a_panic_while_a_wait_begins_is_reported() {
    let throttle = start(|event| matches!(event, Event::Queued { .. }));
    hold(&throttle, "A", 1).await;
    let waiting = wait(&throttle, join(&throttle).await, "A");
    assert!(waiting.await.unwrap_err().is_panic());
    assert_eq!(throttle.failed().await, Failure::Operation);
}

#[test]
fn the_end_of_the_timer_with_its_runtime_is_reported() {
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let first = runtime();
    let throttle = first.block_on(async { start(|_| false) });
    assert_eq!(throttle.failure(), None);
    drop(first);
    assert_eq!(runtime().block_on(throttle.failed()), Failure::Timer);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_service_is_not_a_failure() {
    let throttle = start(|_| false);
    let failed = tokio::spawn(throttle.failed());
    drop(throttle);
    sleep(BLOCK_FOR).await;
    assert!(!failed.is_finished());
}

/// S15, whatever ends the waiting task.
#[tokio::test(start_paused = true)]
async fn a_panic_elsewhere_in_the_waiting_task_parks_the_waiter() {
    let throttle = start(|_| false);
    let holder = hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    let (panic_now, panics) = oneshot::channel::<()>();
    let task = tokio::spawn(wait_beside(throttle.clone(), waiter, panics));
    settle().await;
    panic_now.send(()).unwrap();
    assert!(task.await.unwrap_err().is_panic());
    assert!(throttle.waiters("A", None, 1).await.unwrap().entries[0].parked);
    throttle.release(holder, "A", None).await.unwrap();
    assert_eq!(throttle.remainder("A").await, Ok(1), "a parked waiter is not granted the lock");
    assert_eq!(throttle.failure(), None);
}

/// Waits for a lock until something else in the task panics.
async fn wait_beside(
    throttle: Handle,
    waiter: PeerId,
    panics: oneshot::Receiver<()>,
) -> Result<Admission, Error> {
    let request = LockRequest { block_for: Some(BLOCK_FOR), ..LockRequest::now(Count::ONE) };
    let panic = async {
        let _ = panics.await;
        panic!("unrelated to the wait");
    };
    tokio::select! {
        admission = throttle.acquire(waiter, "A", request) => admission,
        () = panic => unreachable!(),
    }
}
