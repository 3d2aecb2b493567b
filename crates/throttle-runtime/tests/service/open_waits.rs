//! Tests of the limit of open waits: a request beyond it waits briefly, and keeps its place.

use std::time::Duration;

use throttle_runtime::{
    Admission, Clock, Count, Error, Handle, Labels, LockRequest, OpenWaits, PeerId, Settings,
};
use tokio::{task::JoinHandle, time::sleep};

use crate::support::{BLOCK_FOR, JUMP, LEASE, hold, join, jump, settle, start, wait};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(100);

fn limited(limit: usize) -> Handle {
    let throttle = start(&[("A", 1)]);
    throttle.limit_open_waits(limit);
    throttle
}

/// A task that waits for the mutex `A` as a new peer, and repeats its request as soon as it is answered
/// pending, as clients of version 0.5 do. Returns the peer and the number of requests.
fn contend(throttle: &Handle) -> JoinHandle<(PeerId, u32)> {
    let throttle = throttle.clone();
    tokio::spawn(async move {
        let peer = throttle.new_peer(BLOCK_FOR, Labels::default()).await.unwrap();
        let request = LockRequest { block_for: Some(BLOCK_FOR), ..LockRequest::now(Count::ONE) };
        let mut requests = 1;
        while is_pending(throttle.acquire(peer, "A", request).await) {
            requests += 1;
        }
        (peer, requests)
    })
}

fn is_pending(answer: Result<Admission, Error>) -> bool {
    !matches!(answer.expect("the request is not refused"), Admission::Granted { .. })
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_a_wait_is_answered_pending_after_a_second() {
    let throttle = limited(2);
    hold(&throttle, "A", 1).await;
    let clock = Clock::start();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(wait(&throttle, join(&throttle).await, "A"));
        settle().await;
    }
    assert_eq!(throttle.open_waits(), OpenWaits { open: 3, short: 1, limit: 2, cut_short: 1 });
    assert!(is_pending(waiting.pop().unwrap().await.unwrap()));
    assert_eq!(clock.now().as_nanos(), 1_000_000_000);
    assert!(waiting.iter().all(|request| !request.is_finished()));
    assert_eq!(throttle.semaphore("A").await.unwrap().waiters, 3, "it keeps its place");
    assert_eq!(throttle.open_waits(), OpenWaits { open: 2, short: 0, limit: 2, cut_short: 1 });
    for request in waiting {
        assert!(is_pending(request.await.unwrap()));
    }
    assert_eq!(u128::from(clock.now().as_nanos()), BLOCK_FOR.as_nanos());
    assert_eq!(throttle.open_waits().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_with_a_shorter_block_for_is_not_prolonged() {
    let throttle = limited(0);
    hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    for block_for in [Some(MOMENT), Some(Duration::ZERO), None] {
        let clock = Clock::start();
        let request = LockRequest { block_for, ..LockRequest::now(Count::ONE) };
        assert!(is_pending(throttle.acquire(waiter, "A", request).await));
        let waited = u128::from(clock.now().as_nanos());
        assert_eq!(waited, block_for.unwrap_or_default().as_nanos());
    }
}

/// S3
#[tokio::test(start_paused = true)]
async fn a_short_wait_is_answered_at_once_when_it_is_granted_or_its_peer_removed() {
    let throttle = limited(0);
    let holder = hold(&throttle, "A", 1).await;
    let (next, gone) = (join(&throttle).await, join(&throttle).await);
    let (granted, removed) = (wait(&throttle, next, "A"), wait(&throttle, gone, "A"));
    settle().await;
    throttle.release(holder, "A", None).await.unwrap();
    throttle.remove_peer(gone, None).await.unwrap();
    settle().await;
    assert!(granted.is_finished() && removed.is_finished());
    assert!(matches!(granted.await.unwrap(), Ok(Admission::Granted { .. })));
    assert!(matches!(removed.await.unwrap(), Err(Error::Refused(_))));
    assert_eq!(throttle.open_waits().open, 0);
}

/// S15
#[tokio::test(start_paused = true)]
async fn a_short_wait_that_is_dropped_is_parked_and_leaves_nothing_behind() {
    let throttle = limited(0);
    let holder = hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    let waiting = wait(&throttle, waiter, "A");
    settle().await;
    waiting.abort();
    settle().await;
    assert!(throttle.waiters("A", None, 1).await.unwrap().entries[0].parked);
    assert_eq!(throttle.open_waits(), OpenWaits { open: 0, short: 0, limit: 0, cut_short: 1 });
    assert!(!throttle.end_short_wait());
    throttle.release(holder, "A", None).await.unwrap();
    assert_eq!(throttle.remainder("A").await, Ok(1));
}

/// S2: even if requests have to be repeated, however often.
#[tokio::test(start_paused = true)]
async fn locks_are_granted_in_order_even_to_requests_that_are_repeated() {
    let throttle = limited(3);
    let mut holder = hold(&throttle, "A", 1).await;
    let mut queue = Vec::new();
    for _ in 0..20 {
        queue.push(contend(&throttle));
        sleep(Duration::from_millis(70)).await;
    }
    for contender in queue {
        throttle.heartbeat(holder, LEASE).await.unwrap();
        sleep(Duration::from_millis(330)).await;
        throttle.release(holder, "A", None).await.unwrap();
        settle().await;
        // A lock that is granted between two requests is reported to the next one.
        sleep(SECOND / 100).await;
        assert!(contender.is_finished(), "another peer was granted the lock first");
        holder = contender.await.unwrap().0;
    }
}

/// Clients of version 0.5 repeat a request as soon as it is answered pending.
#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_beyond_the_limit_send_one_request_a_second_each() {
    let throttle = limited(10);
    hold(&throttle, "A", 1).await;
    let contenders: Vec<_> = (0..1_010).map(|_| contend(&throttle)).collect();
    sleep(10 * SECOND + SECOND / 2).await;
    let OpenWaits { open, short, cut_short, .. } = throttle.open_waits();
    assert_eq!((open, short), (1_010, 1_000));
    assert_eq!(cut_short, 11 * 1_000);
    contenders.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_short_wait_can_be_ended_once_it_has_lasted_a_moment() {
    let throttle = limited(1);
    hold(&throttle, "A", 1).await;
    assert!(!throttle.end_short_wait(), "there is none");
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(wait(&throttle, join(&throttle).await, "A"));
        settle().await;
    }
    assert!(!throttle.end_short_wait(), "clients may repeat the request immediately");
    sleep(MOMENT).await;
    // The first wait is not short.
    for ended in [1, 2, 3] {
        assert!(!waiting[ended].is_finished());
        assert!(throttle.end_short_wait());
        settle().await;
        assert!(waiting[ended].is_finished());
    }
    assert!(!throttle.end_short_wait());
    let status = throttle.semaphore("A").await.unwrap();
    assert_eq!((status.waiters, throttle.open_waits().open), (4, 1));
    for request in waiting.drain(1..) {
        assert!(is_pending(request.await.unwrap()));
    }
    sleep(LEASE).await;
    assert_eq!(
        throttle.peer_count().await.unwrap(),
        1,
        "leases begin with the answer, and one wait is still open"
    );
}

/// The age of a wait is measured by the clock, even while the state machine lags behind it because very many
/// leases ended together.
#[tokio::test(start_paused = true)]
async fn a_short_wait_can_be_ended_while_very_many_peers_expire() {
    let throttle = limited(0);
    for number in 0..5_000 {
        let lease = LEASE + Duration::from_nanos(number);
        throttle.new_peer(lease, Labels::default()).await.unwrap();
    }
    sleep(LEASE - SECOND / 1_000).await;
    hold(&throttle, "A", 1).await;
    let short = wait(&throttle, join(&throttle).await, "A");
    settle().await;
    jump(JUMP);
    assert!(throttle.end_short_wait());
    assert!(throttle.peer_count().await.unwrap() > 2, "some of them are not removed yet");
    settle().await;
    assert!(is_pending(short.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_new_limit_applies_to_later_requests_only() {
    let throttle = limited(0);
    hold(&throttle, "A", 1).await;
    let short = wait(&throttle, join(&throttle).await, "A");
    settle().await;
    throttle.limit_open_waits(1);
    let long = wait(&throttle, join(&throttle).await, "A");
    settle().await;
    throttle.limit_open_waits(0);
    sleep(2 * SECOND).await;
    assert!(short.is_finished() && !long.is_finished());
    assert_eq!(throttle.open_waits().cut_short, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_no_wait_is_short() {
    let throttle = Handle::start(Settings::default(), &crate::support::configure(&[("A", 1)]));
    hold(&throttle, "A", 1).await;
    let contenders: Vec<_> = (0..100).map(|_| contend(&throttle)).collect();
    sleep(10 * SECOND).await;
    assert_eq!(throttle.open_waits().cut_short, 0);
    contenders.iter().for_each(JoinHandle::abort);
}
