//! Tests of reconfiguration: semaphores and limits that change while the service runs.

use std::{sync::Arc, time::Duration};

use throttle_runtime::{Changes, Count, Handle, Labels, Level, LockRequest, Settings};
use tokio::time::{sleep, timeout};

use crate::{
    memory_store::MemoryStore,
    support::{
        JUMP, Journal, LEASE, configure, hold, is_pending, join, jump, levels, settle, start, wait,
    },
};

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

/// D9, D16
#[tokio::test(start_paused = true)]
async fn semaphores_are_added_changed_and_removed() {
    let throttle = start(&[("A", 1), ("B", 1)]);
    hold(&throttle, "A", 1).await;
    let changes =
        throttle.reconfigure(Settings::default(), &configure(&[("A", 2), ("C", 1)])).await.unwrap();
    let expected = Changes {
        added: vec!["C".to_owned()],
        changed: vec!["A".to_owned()],
        removed: vec!["B".to_owned()],
        ..Changes::default()
    };
    assert_eq!(changes, expected);
    assert_eq!(throttle.remainder("B").await.unwrap_err().code(), "unknown_semaphore");
    let again = throttle.reconfigure(Settings::default(), &configure(&[("A", 2), ("C", 1)])).await;
    assert_eq!(again, Ok(Changes::default()));
}

/// D9
#[tokio::test(start_paused = true)]
async fn a_semaphore_that_is_removed_while_it_is_held_is_retired_until_its_last_lock_is_released() {
    let journal = Journal::default();
    let entries = Arc::clone(&journal.0);
    let semaphores = configure(&[("A", 1), ("B", 1)]);
    let throttle = Handle::start_observed(Settings::default(), &semaphores, Box::new(journal));
    let (holder, waiter) = (hold(&throttle, "A", 1).await, join(&throttle).await);
    let waiting = wait(&throttle, waiter, "A");
    settle().await;
    let changes = throttle.reconfigure(Settings::default(), &configure(&[("B", 1)])).await.unwrap();
    assert_eq!(changes, Changes { retired: vec!["A".to_owned()], ..Changes::default() });
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), "unknown_semaphore");
    let request = LockRequest::now(Count::ONE);
    assert!(throttle.acquire(holder, "A", request).await.unwrap().is_granted());
    assert_eq!(
        throttle.acquire(waiter, "A", request).await.unwrap_err().code(),
        "unknown_semaphore"
    );
    assert!(throttle.semaphore("A").await.unwrap().retired);

    let again = throttle.reconfigure(Settings::default(), &configure(&[("B", 1)])).await;
    assert_eq!(again, Ok(Changes::default()), "it is retired already");
    throttle.release(holder, "A", None).await.unwrap();
    assert_eq!(throttle.semaphore("A").await.unwrap_err().code(), "unknown_semaphore");
    assert_eq!(throttle.semaphores().await.unwrap().len(), 1);
    assert_eq!(entries.lock().unwrap().last().unwrap(), "0 removed");
    let peer = throttle.peer(holder).await.unwrap();
    assert_eq!(peer.held, []);
    throttle.reconfigure(Settings::default(), &configure(&[("A", 1)])).await.unwrap();
    assert!(throttle.acquire(waiter, "A", request).await.unwrap().is_granted(), "it is a new one");
}

/// D9
#[tokio::test(start_paused = true)]
async fn a_retired_semaphore_that_comes_back_keeps_its_holders() {
    let throttle = start(&[("A", 1)]);
    let (holder, other) = (hold(&throttle, "A", 1).await, join(&throttle).await);
    throttle.reconfigure(Settings::default(), &configure(&[])).await.unwrap();
    let changes = throttle.reconfigure(Settings::default(), &configure(&[("A", 2)])).await.unwrap();
    assert_eq!(changes, Changes { added: vec!["A".to_owned()], ..Changes::default() });
    assert!(!throttle.semaphore("A").await.unwrap().retired);
    assert!(throttle.acquire(other, "A", LockRequest::now(Count::ONE)).await.unwrap().is_granted());
    assert_eq!(throttle.remainder("A").await, Ok(0));
    assert_eq!(throttle.peer(holder).await.unwrap().held.len(), 1);
}

/// D9
#[tokio::test(start_paused = true)]
async fn a_new_level_of_a_semaphore_in_use_waits_until_it_is_unused() {
    let semaphores = levels(&[("A", 1)]);
    let throttle = Handle::start(Settings::default(), &semaphores);
    let holder = hold(&throttle, "A", 1).await;
    let changes = throttle.reconfigure(Settings::default(), &levels(&[("A", 5)])).await.unwrap();
    let expected = Changes {
        changed: vec!["A".to_owned()],
        deferred: vec!["A".to_owned()],
        ..Changes::default()
    };
    assert_eq!(changes, expected);
    let status = throttle.semaphore("A").await.unwrap();
    assert_eq!((status.level, status.next_level), (Level(1), Some(Level(5))));
    throttle.release(holder, "A", None).await.unwrap();
    let status = throttle.semaphore("A").await.unwrap();
    assert_eq!((status.level, status.next_level), (Level(5), None));
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

/// D3
#[tokio::test(start_paused = true)]
async fn a_reload_that_fills_a_batch_of_the_store_needs_no_other_request_to_end() {
    let store = MemoryStore::new().with_max_batch(4);
    let semaphores = configure(&[("A", 1)]);
    let builder = Handle::builder(Settings::default(), &semaphores).store(store.open());
    let throttle = builder.start().unwrap();
    join(&throttle).await;
    settle().await;
    let semaphores = configure(&[("A", 1), ("B", 1), ("C", 1), ("D", 1), ("E", 1)]);
    let reload = throttle.reconfigure(Settings::default(), &semaphores);
    let changes = timeout(Duration::from_secs(60), reload).await.expect("the writer is woken");
    assert_eq!(changes.unwrap().added.len(), 4);
    assert_eq!(store.contents().semaphores.len(), 5);
}
