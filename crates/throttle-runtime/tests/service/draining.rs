//! Tests of draining, which precedes the end of a server.

use std::time::Duration;

use throttle_runtime::{Clock, Count, Handle, Level, LockRequest, SemaphoreConfig, Settings};
use tokio::time::sleep;

use crate::support::{
    BLOCK_FOR, LEASE, configure, elapsed, hold, is_pending, join, settle, start, wait,
};

/// D24, T15: a shutdown does not wait for open waits.
#[tokio::test(start_paused = true)]
async fn draining_ends_all_waits_at_once_and_lets_no_further_request_wait() {
    let throttle = start(&[("A", 1)]);
    let holder = hold(&throttle, "A", 1).await;
    let mut waiting = Vec::new();
    for _ in 0..3_000 {
        waiting.push(wait(&throttle, join(&throttle).await, "A"));
    }
    settle().await;
    let clock = Clock::start();
    throttle.drain();
    for request in waiting {
        assert!(is_pending(request.await.unwrap()));
    }
    let late = join(&throttle).await;
    assert!(is_pending(wait(&throttle, late, "A").await.unwrap()));
    assert_eq!(elapsed(clock), Duration::ZERO);
    assert!(throttle.is_draining());
    throttle.release(holder, "A", None).await.unwrap();
    assert_eq!(throttle.remainder("A").await, Ok(0), "the queue outlives the requests");
    sleep(LEASE).await;
    assert_eq!(throttle.peer_count().await.unwrap(), 0, "leases begin with the answer");
}

/// S8: a lease of zero length ends as soon as the wait that kept it from running. A lock of its peer may then
/// be granted to a waiter that is not drained yet.
#[tokio::test(start_paused = true)]
async fn draining_continues_when_the_end_of_one_wait_grants_another() {
    let mut semaphores = configure(&[("A", 1)]);
    let names: Vec<_> = (0..20).map(|number| format!("B{number}")).collect();
    for name in &names {
        let above = SemaphoreConfig { max: Count::ONE, level: Level(1) };
        semaphores.insert(name.clone(), above);
    }
    let throttle = Handle::start(Settings::default(), &semaphores);
    hold(&throttle, "A", 1).await;
    let mut waiting = Vec::new();
    for name in &names {
        let leaving = hold(&throttle, name, 1).await;
        let clone = throttle.clone();
        let (expires_in, block_for) = (Some(Duration::ZERO), Some(BLOCK_FOR));
        let request = LockRequest { expires_in, block_for, ..LockRequest::now(Count::ONE) };
        tokio::spawn(async move { clone.acquire(leaving, "A", request).await });
        waiting.push(wait(&throttle, join(&throttle).await, name));
    }
    settle().await;
    assert_eq!(throttle.open_waits().open, 40);
    throttle.drain();
    for request in waiting {
        request.await.unwrap().unwrap();
    }
    assert_eq!((throttle.failure(), throttle.open_waits().open), (None, 0));
}

/// D24: whatever happens before the waiting task runs.
#[tokio::test(start_paused = true)]
async fn a_drained_wait_is_answered_pending_even_if_its_lock_is_then_granted_or_cancelled() {
    for remove in [false, true] {
        let throttle = start(&[("A", 1)]);
        let holder = hold(&throttle, "A", 1).await;
        let waiter = join(&throttle).await;
        let waiting = wait(&throttle, waiter, "A");
        settle().await;
        throttle.drain();
        throttle.release(holder, "A", None).await.unwrap();
        if remove {
            throttle.remove_peer(waiter, None).await.unwrap();
        }
        assert!(is_pending(waiting.await.unwrap()));
        sleep(LEASE).await;
        assert_eq!(throttle.remainder("A").await, Ok(1), "the lease begins with the answer");
    }
}
