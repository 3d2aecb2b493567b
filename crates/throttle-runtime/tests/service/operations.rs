//! Tests of waking, draining, inspection, reconfiguration, the observer, and the end of a service.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use throttle_runtime::{
    Admission, Clock, Count, Error, Event, Handle, Labels, Level, LockRequest, Observer,
    Restoration, SemaphoreConfig, SemaphoreId, Settings,
};
use tokio::time::{sleep, timeout};

use crate::support::{
    BLOCK_FOR, JUMP, LEASE, configure, count, hold, join, jump, settle, start, wait,
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
    let left = throttle.peer_count().await;
    assert!((1..20_000).contains(&left), "{left} are left");
    let (first, last) = (peers[0], peers[19_999]);
    let gone = throttle.heartbeat(first, LEASE).await;
    assert_eq!(gone, Err(Error::Refused(throttle_core::Error::UnknownPeer)));
    throttle.heartbeat(last, LEASE).await.unwrap();
    settle().await;
    assert_eq!(throttle.peer_count().await, 1, "the timer removes the rest without an operation");
    sleep(LEASE - Duration::from_millis(1)).await;
    assert_eq!(
        throttle.peer_count().await,
        1,
        "a lease begins at the present, not at the instant that was reached"
    );
    sleep(Duration::from_millis(2)).await;
    assert_eq!(throttle.peer_count().await, 0);
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
    assert_eq!(throttle.peer_count().await, 0, "leases begin with the answer");
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

/// D14: in pages.
#[tokio::test(start_paused = true)]
async fn lists_show_holders_and_waiters_in_order() {
    let throttle = start(&[("A", 2)]);
    let labels: Labels = [("host".to_owned(), "worker-7".to_owned())].into_iter().collect();
    let holder = throttle.new_peer(LEASE, labels.clone()).await.unwrap();
    throttle.acquire(holder, "A", LockRequest::now(count(2))).await.unwrap();
    let mut queue = Vec::new();
    for _ in 0..3 {
        let waiter = join(&throttle).await;
        throttle.acquire(waiter, "A", LockRequest::now(Count::ONE)).await.unwrap();
        queue.push(waiter);
    }
    sleep(Duration::from_secs(5)).await;
    let holders = throttle.holders("A", None, 10).await.unwrap().entries;
    assert_eq!((holders.len(), holders[0].peer, &holders[0].labels), (1, holder, &labels));
    assert_eq!(holders[0].held_for, Duration::from_secs(5));
    assert_eq!(holders[0].time_left, LEASE - Duration::from_secs(5));
    let first = throttle.waiters("A", None, 2).await.unwrap();
    let second = throttle.waiters("A", first.next, 2).await.unwrap();
    assert_eq!(second.next, None, "no waiter is left");
    let listed: Vec<_> =
        first.entries.iter().chain(&second.entries).map(|waiter| waiter.peer).collect();
    assert_eq!(listed, queue);
    let first = throttle.peers(None, 3).await;
    let second = throttle.peers(first.next, 3).await;
    assert_eq!((first.entries.len(), second.entries.len()), (3, throttle.peer_count().await - 3));
    assert_eq!(throttle.semaphore("A").await.unwrap().longest_pending, Duration::from_secs(5));
}

/// S9: the labels are restored too.
#[tokio::test(start_paused = true)]
async fn a_restored_peer_has_the_labels_of_its_restoration() {
    let throttle = start(&[("A", 1)]);
    let labels = Labels::from_iter([("host".to_owned(), "worker-7".to_owned())]);
    let peer = throttle_runtime::PeerId::new(7).unwrap();
    let locks = [("A".to_owned(), Count::ONE)].into();
    let (labels_too, sequence) = (labels.clone(), None);
    let restoration = Restoration { peer, expires_in: LEASE, locks, labels: labels_too, sequence };
    throttle.restore(restoration).await.unwrap();
    assert_eq!(throttle.peer(peer).await.unwrap().labels, labels);
}

/// S8: peers that are due are removed before a reconfiguration.
#[tokio::test(start_paused = true)]
async fn a_semaphore_whose_last_holder_is_due_can_be_removed() {
    let journal = Journal::default();
    let entries = Arc::clone(&journal.0);
    let semaphores = configure(&[("A", 1)]);
    let throttle = Handle::start_observed(Settings::default(), &semaphores, Box::new(journal));
    hold(&throttle, "A", 1).await;
    sleep(LEASE - JUMP).await;
    jump(JUMP);
    throttle.reconfigure(Settings::default(), &configure(&[])).await.unwrap();
    let entries = entries.lock().unwrap();
    assert_eq!(entries[3..], ["Released", "Expired", "0 removed"]);
}

/// S8: even if very many leases end together, and that of the holder last.
#[tokio::test(start_paused = true)]
async fn a_semaphore_whose_last_holder_is_due_after_very_many_peers_can_be_removed() {
    let throttle = start(&[("A", 1)]);
    for number in 0..20_000 {
        let lease = LEASE + Duration::from_nanos(number);
        let last = throttle.new_peer(lease, Labels::default()).await.unwrap();
        if number == 19_999 {
            throttle.acquire(last, "A", LockRequest::now(Count::ONE)).await.unwrap();
        }
    }
    sleep(LEASE - Duration::from_millis(1)).await;
    jump(JUMP);
    assert!(throttle.peer_count().await > 0, "some of them are not removed yet");
    throttle.reconfigure(Settings::default(), &configure(&[])).await.unwrap();
}

/// D16: all or none.
#[tokio::test(start_paused = true)]
async fn semaphores_in_use_are_not_removed_and_keep_their_level() {
    let throttle = start(&[("A", 1), ("B", 1)]);
    hold(&throttle, "A", 1).await;
    let before = throttle.semaphores().await;
    let refused =
        throttle.reconfigure(Settings::default(), &configure(&[("B", 7), ("C", 1)])).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        r#"semaphore "A" is in use, so it can neither be removed nor change its level"#
    );
    assert_eq!(throttle.semaphores().await, before, "nothing else changed either");
    let changes =
        throttle.reconfigure(Settings::default(), &configure(&[("A", 2), ("C", 1)])).await;
    let changes = changes.unwrap();
    assert_eq!(
        (&*changes.added, &*changes.changed, &*changes.removed),
        (&["C".to_owned()][..], &["A".to_owned()][..], &["B".to_owned()][..],)
    );
    assert_eq!(throttle.remainder("B").await.unwrap_err().code(), "unknown_semaphore");
}

/// D23
#[tokio::test(start_paused = true)]
async fn limits_refuse_new_peers_and_waiters_and_can_be_raised() {
    let tight = Settings { max_peers: 2, max_waiters: 1, ..Settings::default() };
    let semaphores = configure(&[("A", 1)]);
    let throttle = Handle::start(tight, &semaphores);
    let (one, two) = (join(&throttle).await, join(&throttle).await);
    let third = throttle.new_peer(LEASE, Labels::default()).await.unwrap_err();
    assert_eq!(third.code(), "too_many_peers");
    throttle.reconfigure(Settings { max_peers: 9, ..tight }, &semaphores).await.unwrap();
    let three = join(&throttle).await;
    let request = LockRequest::now(Count::ONE);
    throttle.acquire(one, "A", request).await.unwrap();
    throttle.acquire(two, "A", request).await.unwrap();
    assert_eq!(throttle.acquire(three, "A", request).await.unwrap_err().code(), "too_many_waiters");
    assert!(is_pending(throttle.acquire(two, "A", request).await));
}

/// B3: sums of restored counts do not overflow.
#[tokio::test(start_paused = true)]
async fn restored_counts_are_summed_without_overflow() {
    let throttle = start(&[("A", 1)]);
    let restore = |id, count: Count| {
        throttle.restore(Restoration {
            peer: throttle_runtime::PeerId::new(id).unwrap(),
            expires_in: LEASE,
            locks: [("A".to_owned(), count)].into(),
            labels: Labels::default(),
            sequence: None,
        })
    };
    restore(1, Count::MAX).await.unwrap();
    assert_eq!(restore(2, Count::ONE).await.unwrap_err().code(), "lock_count_too_large");
    assert_eq!(throttle.remainder("A").await, Ok(2 - (1 << 53)));
}

/// Records what an observer receives.
#[derive(Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Observer for Journal {
    fn semaphore_added(&mut self, _: SemaphoreId, name: &str) {
        self.0.lock().unwrap().push(format!("{name} added"));
    }

    fn semaphore_removed(&mut self, id: SemaphoreId) {
        self.0.lock().unwrap().push(format!("{} removed", id.index()));
    }

    fn event(&mut self, event: &Event) {
        self.0.lock().unwrap().push(format!("{event:?}").split(' ').next().unwrap().to_owned());
    }
}

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

fn levels(levels: &[(&str, i32)]) -> BTreeMap<String, SemaphoreConfig> {
    let semaphores = levels.iter().map(|&(name, level)| {
        (name.to_owned(), SemaphoreConfig { max: Count::ONE, level: Level(level) })
    });
    semaphores.collect()
}

fn elapsed(clock: Clock) -> Duration {
    Duration::from_nanos(clock.now().as_nanos())
}

/// Whether the answer is that a count of one is pending.
fn is_pending(answer: Result<Admission, Error>) -> bool {
    matches!(answer, Ok(Admission::Queued { count: Count::ONE, .. }))
}
