//! A service that is broken says so and ends what waits for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use throttle_runtime::{
    Admission, Count, Error, Event, Failure, Handle, Labels, LockRequest, Observer, PeerId,
    SemaphoreId, Settings,
};
use tokio::{runtime::Builder, sync::oneshot, time::sleep};

use crate::support::{PATIENCE, configure, hold, join, settle, wait};

/// Panics within the critical section at an event of this kind.
struct Fragile(fn(&Event) -> bool);

impl Observer for Fragile {
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, _: SemaphoreId) {}

    fn event(&mut self, event: &Event) {
        assert!(!self.0(event), "this is how a defect looks");
    }
}

fn start(breaks_at: fn(&Event) -> bool) -> Handle {
    let observer = Box::new(Fragile(breaks_at));
    Handle::start_observed(Settings::default(), &configure(&[("A", 1)]), observer)
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_operation_is_told_and_ends_every_open_wait_at_once() {
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
    assert_eq!(throttle.heartbeat(holder, PATIENCE).await, Err(Error::Failed));
    assert_eq!(
        throttle.acquire(holder, "A", LockRequest::now(Count::ONE)).await,
        Err(Error::Failed)
    );
    assert_eq!(throttle.remove_peer(holder, None).await, Err(Error::Failed));
    assert_eq!(throttle.remainder("A"), Err(Error::Failed));
    let later = catch_unwind(AssertUnwindSafe(|| throttle.peer_count()));
    assert!(later.is_err(), "nobody knows what is true");
    throttle.drain();
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_the_timer_ends_leases_is_told() {
    let throttle = start(|event| matches!(event, Event::Expired { .. }));
    let peer = throttle.new_peer(Duration::from_secs(1), Labels::default()).await.unwrap();
    throttle.acquire(peer, "A", LockRequest::now(Count::ONE)).await.unwrap();
    let waiting = wait(&throttle, join(&throttle).await, "A");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(waiting.await.unwrap(), Err(Error::Failed));
    assert_eq!(throttle.failed().await, Failure::Operation);
}

/// The request that breaks the service is the one that was to wait.
#[tokio::test(start_paused = true)]
async fn a_panic_while_a_wait_begins_is_told() {
    let throttle = start(|event| matches!(event, Event::Queued { .. }));
    hold(&throttle, "A", 1).await;
    let waiting = wait(&throttle, join(&throttle).await, "A");
    assert!(waiting.await.unwrap_err().is_panic());
    assert_eq!(throttle.failed().await, Failure::Operation);
}

#[test]
fn a_runtime_that_ends_takes_the_timer_with_it_and_that_is_told() {
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let first = runtime();
    let throttle = first.block_on(async { start(|_| false) });
    assert_eq!(throttle.failure(), None);
    drop(first);
    assert_eq!(runtime().block_on(throttle.failed()), Failure::Timer);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_service_is_no_failure() {
    let throttle = start(|_| false);
    let failed = tokio::spawn(throttle.failed());
    drop(throttle);
    sleep(PATIENCE).await;
    assert!(!failed.is_finished());
}

/// S15, whatever takes the waiting task along.
#[tokio::test(start_paused = true)]
async fn a_panic_elsewhere_in_its_task_parks_a_waiter() {
    let throttle = start(|_| false);
    let holder = hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    let (stumble, stumbles) = oneshot::channel::<()>();
    let task = tokio::spawn(wait_beside(throttle.clone(), waiter, stumbles));
    settle().await;
    stumble.send(()).unwrap();
    assert!(task.await.unwrap_err().is_panic());
    assert!(throttle.waiters("A", None, 1).unwrap().entries[0].parked);
    throttle.release(holder, "A", None).await.unwrap();
    assert_eq!(throttle.remainder("A"), Ok(1), "nobody is there to take it");
    assert_eq!(throttle.failure(), None);
}

/// Waits for a lock beside something that panics.
async fn wait_beside(
    throttle: Handle,
    waiter: PeerId,
    stumbles: oneshot::Receiver<()>,
) -> Result<Admission, Error> {
    let request = LockRequest { block_for: Some(PATIENCE), ..LockRequest::now(Count::ONE) };
    let stumble = async {
        let _ = stumbles.await;
        panic!("it has nothing to do with the wait");
    };
    tokio::select! {
        admission = throttle.acquire(waiter, "A", request) => admission,
        () = stumble => unreachable!(),
    }
}
