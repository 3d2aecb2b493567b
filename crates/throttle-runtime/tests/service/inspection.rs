//! Tests of inspection: holders, waiters and peers, as the service shows them.

use std::time::Duration;

use throttle_runtime::{Count, Labels, LockRequest, Restoration};
use tokio::time::sleep;

use crate::support::{LEASE, count, join, start};

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
    let first = throttle.peers(None, 3).await.unwrap();
    let second = throttle.peers(first.next, 3).await.unwrap();
    assert_eq!(
        (first.entries.len(), second.entries.len()),
        (3, throttle.peer_count().await.unwrap() - 3)
    );
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
