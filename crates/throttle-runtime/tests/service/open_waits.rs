//! A limit of its own for requests that wait: beyond it they wait briefly, and keep their place.

use std::time::Duration;

use throttle_runtime::{
    Admission, Clock, Count, Error, Handle, Labels, LockRequest, OpenWaits, PeerId, Settings,
};
use tokio::{task::JoinHandle, time::sleep};

use crate::support::{JUMP, LEASE, PATIENCE, hold, join, jump, settle, start, wait};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(100);

fn limited(limit: usize) -> Handle {
    let throttle = start(&[("A", 1)]);
    throttle.limit_open_waits(limit);
    throttle
}

/// A task that waits for the mutex `A` as new peer, and asks again as soon as it hears that it is
/// pending, as old clients do. Returns who it was and how often it asked.
fn contend(throttle: &Handle) -> JoinHandle<(PeerId, u32)> {
    let throttle = throttle.clone();
    tokio::spawn(async move {
        let peer = throttle.new_peer(PATIENCE, Labels::default()).await.unwrap();
        let request = LockRequest { block_for: Some(PATIENCE), ..LockRequest::now(Count::ONE) };
        let mut requests = 1;
        while is_pending(throttle.acquire(peer, "A", request).await) {
            requests += 1;
        }
        (peer, requests)
    })
}

fn is_pending(answer: Result<Admission, Error>) -> bool {
    !matches!(answer.expect("nothing is wrong"), Admission::Granted { .. })
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
    assert_eq!(throttle.semaphore("A").unwrap().waiters, 3, "it keeps its place");
    assert_eq!(throttle.open_waits(), OpenWaits { open: 2, short: 0, limit: 2, cut_short: 1 });
    for request in waiting {
        assert!(is_pending(request.await.unwrap()));
    }
    assert_eq!(u128::from(clock.now().as_nanos()), PATIENCE.as_nanos());
    assert_eq!(throttle.open_waits().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_brief_by_itself_is_not_prolonged() {
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
async fn a_short_wait_hears_of_its_grant_and_of_its_end_at_once() {
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
async fn a_short_wait_that_breaks_is_parked_and_leaves_nothing_behind() {
    let throttle = limited(0);
    let holder = hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    let waiting = wait(&throttle, waiter, "A");
    settle().await;
    waiting.abort();
    settle().await;
    assert!(throttle.waiters("A", None, 1).unwrap().entries[0].parked);
    assert_eq!(throttle.open_waits(), OpenWaits { open: 0, short: 0, limit: 0, cut_short: 1 });
    assert!(!throttle.end_short_wait());
    throttle.release(holder, "A", None).await.unwrap();
    assert_eq!(throttle.remainder("A"), Ok(1));
}

/// S2: whoever has to ask again, and however often.
#[tokio::test(start_paused = true)]
async fn locks_are_granted_in_order_also_to_those_who_have_to_ask_again() {
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
        // Between two requests it may be granted its lock without waiting for it.
        sleep(SECOND / 100).await;
        assert!(contender.is_finished(), "somebody else's turn came first");
        holder = contender.await.unwrap().0;
    }
}

/// Clients of version 0.5 ask again as soon as they hear that their lock is pending.
#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_beyond_the_limit_ask_once_a_second_each() {
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
async fn the_oldest_short_wait_can_be_ended_but_not_within_a_moment() {
    let throttle = limited(1);
    hold(&throttle, "A", 1).await;
    assert!(!throttle.end_short_wait(), "there is none");
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(wait(&throttle, join(&throttle).await, "A"));
        settle().await;
    }
    assert!(!throttle.end_short_wait(), "clients may ask again at once");
    sleep(MOMENT).await;
    // The first one is not short.
    for ended in [1, 2, 3] {
        assert!(!waiting[ended].is_finished());
        assert!(throttle.end_short_wait());
        settle().await;
        assert!(waiting[ended].is_finished());
    }
    assert!(!throttle.end_short_wait());
    let status = throttle.semaphore("A").unwrap();
    assert_eq!((status.waiters, throttle.open_waits().open), (4, 1));
    for request in waiting.drain(1..) {
        assert!(is_pending(request.await.unwrap()));
    }
    sleep(LEASE).await;
    assert_eq!(throttle.peer_count(), 1, "leases count from the answer, and one is still open");
}

/// A request has waited for as long as the clock says, also while the state machine has not got there
/// because very many leases ended together.
#[tokio::test(start_paused = true)]
async fn a_short_wait_can_be_ended_while_a_crowd_expires() {
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
    assert!(throttle.peer_count() > 2, "the crowd is not gone yet");
    settle().await;
    assert!(is_pending(short.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_changes_concerns_those_who_come() {
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

/// Nobody knows how much of anything there will be unless told.
#[tokio::test(start_paused = true)]
async fn without_a_limit_nobody_is_cut_short() {
    let throttle = Handle::start(Settings::default(), &crate::support::configure(&[("A", 1)]));
    hold(&throttle, "A", 1).await;
    let contenders: Vec<_> = (0..100).map(|_| contend(&throttle)).collect();
    sleep(10 * SECOND).await;
    assert_eq!(throttle.open_waits().cut_short, 0);
    contenders.iter().for_each(JoinHandle::abort);
}
