//! Tests of reconfiguration: semaphores and limits that change while the service runs.

use std::{sync::Arc, time::Duration};

use throttle_runtime::{Count, Handle, Labels, LockRequest, Settings};
use tokio::time::sleep;

use crate::support::{JUMP, Journal, LEASE, configure, hold, is_pending, join, jump, start};

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
    assert!(throttle.peer_count().await.unwrap() > 0, "some of them are not removed yet");
    throttle.reconfigure(Settings::default(), &configure(&[])).await.unwrap();
}

/// D16: all or none.
#[tokio::test(start_paused = true)]
async fn semaphores_in_use_are_not_removed_and_keep_their_level() {
    let throttle = start(&[("A", 1), ("B", 1)]);
    hold(&throttle, "A", 1).await;
    let before = throttle.semaphores().await.unwrap();
    let refused =
        throttle.reconfigure(Settings::default(), &configure(&[("B", 7), ("C", 1)])).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        r#"semaphore "A" is in use, so it can neither be removed nor change its level"#
    );
    assert_eq!(throttle.semaphores().await.unwrap(), before, "nothing else changed either");
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
