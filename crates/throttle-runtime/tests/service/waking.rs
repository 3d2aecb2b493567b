//! Tests of waking: waits end when their lock is granted, cancelled, or not granted in time.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use throttle_runtime::{Admission, Clock, Count, Error, Handle, Labels, LockRequest, Settings};
use tokio::time::{sleep, timeout};

use crate::support::{
    BLOCK_FOR, JUMP, LEASE, count, elapsed, hold, is_pending, join, jump, levels, settle, start,
    wait,
};

/// S3: to the millisecond, although no operation runs at the deadline.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_lease_wakes_waiters_punctually() {
    let throttle = start(&[("A", 1)]);
    let clock = Clock::start();
    let holder = hold(&throttle, "A", 1).await;
    throttle.heartbeat(holder, Duration::from_millis(2_500)).await.unwrap();
    let waiter = join(&throttle).await;
    assert!(matches!(wait(&throttle, waiter, "A").await.unwrap(), Ok(Admission::Granted { .. })));
    let late = elapsed(clock) - Duration::from_millis(2_500);
    assert!(late <= Duration::from_millis(1), "{late:?} late");
}

/// An earlier deadline re-arms the timer, which would sleep until a later one.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_moved_forward_is_not_missed() {
    let throttle = start(&[("A", 1)]);
    let holder = hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    let waiting = wait(&throttle, waiter, "A");
    sleep(Duration::from_secs(1)).await;
    throttle.heartbeat(holder, Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_millis(1_001)).await;
    assert!(waiting.is_finished());
}

/// S13: an operation waits for the removal of a few peers only. A peer that is not removed yet is alive.
#[tokio::test(start_paused = true)]
async fn peers_that_expire_together_are_removed_in_steps_and_one_that_renews_its_lease_in_between_stays()
 {
    let throttle = start(&[("A", 1)]);
    let mut peers = Vec::new();
    for number in 0..20_000 {
        let lease = LEASE + Duration::from_nanos(number);
        peers.push(throttle.new_peer(lease, Labels::default()).await.unwrap());
    }
    sleep(LEASE - Duration::from_millis(1)).await;
    jump(Duration::from_millis(500));
    let left = throttle.peer_count().await.unwrap();
    assert!((1..20_000).contains(&left), "{left} are left");
    let (first, last) = (peers[0], peers[19_999]);
    let gone = throttle.heartbeat(first, LEASE).await;
    assert_eq!(gone, Err(Error::Refused(throttle_core::Error::UnknownPeer)));
    throttle.heartbeat(last, LEASE).await.unwrap();
    settle().await;
    assert_eq!(
        throttle.peer_count().await.unwrap(),
        1,
        "the timer removes the rest without an operation"
    );
    sleep(LEASE - Duration::from_millis(1)).await;
    assert_eq!(
        throttle.peer_count().await.unwrap(),
        1,
        "a lease begins at the present, not at the instant that was reached"
    );
    sleep(Duration::from_millis(2)).await;
    assert_eq!(throttle.peer_count().await.unwrap(), 0);
}

/// S7: a peer that requests three, and then one while it waits, holds one, and no answer reports more.
#[tokio::test(start_paused = true)]
async fn all_open_requests_of_a_peer_report_the_count_that_it_holds_or_awaits() {
    let throttle = start(&[("A", 3)]);
    let request = |count: u64| LockRequest {
        block_for: Some(BLOCK_FOR),
        ..LockRequest::now(self::count(count))
    };
    for released in [true, false] {
        let (holder, waiter) = (hold(&throttle, "A", 3).await, join(&throttle).await);
        let mut requests = pin!(async {
            tokio::join!(
                throttle.acquire(waiter, "A", request(3)),
                throttle.acquire(waiter, "A", request(1)),
            )
        });
        assert!(timeout(BLOCK_FOR / 2, &mut requests).await.is_err(), "they wait");
        if released {
            throttle.release(holder, "A", None).await.unwrap();
        }
        let (first, second) = requests.await;
        match first.unwrap() {
            Admission::Granted { count, .. } => assert_eq!((count, released), (Count::ONE, true)),
            Admission::Queued { count, .. } => assert_eq!((count, released), (Count::ONE, false)),
        }
        assert_eq!(first, second);
        throttle.remove_peer(waiter, None).await.unwrap();
        throttle.remove_peer(holder, None).await.unwrap();
    }
}

/// S15, D8: at each stage of the wait, with the release of the holder at each earlier stage.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_at_any_instant_loses_no_lock() {
    let throttle = start(&[("A", 1)]);
    let (mut too_early, mut parked, mut granted) = (0, 0, 0);
    for (turns, release_at) in (0..20).flat_map(|turns| (0..=turns).map(move |at| (turns, at))) {
        let holder = hold(&throttle, "A", 1).await;
        let waiter = join(&throttle).await;
        let waiting = wait(&throttle, waiter, "A");
        for turn in 0..turns {
            if turn == release_at {
                throttle.release(holder, "A", None).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
        waiting.abort();
        settle().await;
        throttle.remove_peer(holder, None).await.unwrap();
        let status = throttle.semaphore("A").await.unwrap();
        match (status.held, status.pending) {
            (0, 0) => too_early += 1,
            (0, 1) => parked += 1,
            (1, 0) => granted += 1,
            other => panic!("{other:?} held and pending"),
        }
        sleep(Duration::from_secs(10)).await;
        let status = throttle.semaphore("A").await.unwrap();
        assert_eq!(status.waiters, 0, "the lock of a parked waiter is cancelled");
        throttle.remove_peer(waiter, None).await.unwrap();
        assert_eq!(throttle.remainder("A").await, Ok(1));
    }
    assert!(too_early > 0 && parked > 0 && granted > 0, "{too_early}, {parked}, {granted}");
}

/// S3, S8: the timer is late, so the request that ends its wait removes the expired holder itself.
#[tokio::test(start_paused = true)]
async fn a_grant_at_the_end_of_the_wait_is_reported() {
    let throttle = start(&[("A", 1)]);
    let holder = hold(&throttle, "A", 1).await;
    throttle.heartbeat(holder, BLOCK_FOR + Duration::from_millis(1)).await.unwrap();
    let waiter = join(&throttle).await;
    let request = LockRequest { block_for: Some(BLOCK_FOR), ..LockRequest::now(Count::ONE) };
    // Polled by this task, which runs before the timer.
    let mut waiting = pin!(throttle.acquire(waiter, "A", request));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    sleep(BLOCK_FOR - JUMP).await;
    jump(JUMP + Duration::from_millis(2));
    let answer = waiting.await;
    assert!(matches!(answer, Ok(Admission::Granted { .. })), "{answer:?}");
}

/// S15, S8: the outcome of an old request does not reach a new one of the same peer.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_repeated_just_after_its_place_was_lost_joins_the_queue_again() {
    let throttle = start(&[("A", 1)]);
    let holder = hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    let waiting = wait(&throttle, waiter, "A");
    settle().await;
    waiting.abort();
    settle().await;
    sleep(Settings::default().abandoned_after - JUMP).await;
    jump(JUMP);
    let again = wait(&throttle, waiter, "A");
    settle().await;
    assert!(!again.is_finished());
    throttle.release(holder, "A", None).await.unwrap();
    assert!(matches!(again.await.unwrap(), Ok(Admission::Granted { .. })));
    sleep(LEASE).await;
    assert_eq!(throttle.is_acquired(waiter).await.unwrap_err().code(), "unknown_peer");
}

/// S1, S6: the outcome of an old request does not reach a new one for another semaphore.
#[tokio::test(start_paused = true)]
async fn a_grant_of_one_semaphore_is_not_mistaken_for_a_grant_of_another() {
    let throttle = Handle::start(Settings::default(), &levels(&[("A", 1), ("B", 0)]));
    let brief = hold(&throttle, "A", 1).await;
    throttle.heartbeat(brief, JUMP).await.unwrap();
    hold(&throttle, "B", 1).await;
    let waiter = join(&throttle).await;
    let pending = throttle.acquire(waiter, "A", LockRequest::now(Count::ONE)).await;
    assert!(is_pending(pending));
    jump(JUMP);
    let waiting = wait(&throttle, waiter, "B");
    settle().await;
    assert!(!waiting.is_finished(), "another peer holds B");
    assert_eq!(throttle.peer(waiter).await.unwrap().held[0].semaphore.as_ref(), "A");
}

/// S3, S1, with real threads: no wake-up is lost, and no two peers hold the mutex at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn peers_on_many_threads_take_turns() {
    let throttle = start(&[("A", 1)]);
    let inside = Arc::new(AtomicBool::new(false));
    let peers = (0..16).map(|_| {
        let (throttle, inside) = (throttle.clone(), Arc::clone(&inside));
        tokio::spawn(async move {
            let peer = join(&throttle).await;
            for _ in 0..200 {
                let request =
                    LockRequest { block_for: Some(LEASE), ..LockRequest::now(Count::ONE) };
                let admission = throttle.acquire(peer, "A", request).await;
                assert!(matches!(admission, Ok(Admission::Granted { .. })), "{admission:?}");
                assert!(!inside.swap(true, Ordering::SeqCst), "another peer is inside");
                tokio::task::yield_now().await;
                inside.store(false, Ordering::SeqCst);
                throttle.release(peer, "A", None).await?;
            }
            Ok::<_, Error>(())
        })
    });
    for peer in peers.collect::<Vec<_>>() {
        peer.await.unwrap().unwrap();
    }
    assert_eq!(throttle.remainder("A").await, Ok(1));
}
