//! Peers and locks that keep themselves alive, against the real routes.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use throttle_client::{Code, LockError, Lost, Peer, PeerStatus};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    real_server::{LEASE, LONG, MUTEX, RealServer, now},
    scripted_server::client,
};

#[tokio::test]
async fn a_lock_outlives_its_lease_many_times_and_is_free_when_it_is_released() {
    let server = RealServer::with(MUTEX).await;
    let (ann, bob) = (server.peer(), server.peer());
    let lock = ann.lock("A").await.unwrap();
    let in_vain = bob.lock("A").wait_at_most(3 * LEASE).await;
    assert!(matches!(in_vain, Err(LockError::NotInTime { .. })), "{in_vain:?}");
    assert!(lock.is_held());
    let first = lock.fencing_token();
    lock.release().await.unwrap();

    let lock = bob.lock("A").try_lock().await.unwrap().expect("the lock is free");
    assert!(lock.fencing_token() > first);
}

#[tokio::test]
async fn a_lock_that_is_dropped_is_released_in_the_background() {
    let server = RealServer::with(MUTEX).await;
    let (ann, bob) = (server.peer(), server.peer());
    drop(ann.lock("A").await.unwrap());
    bob.lock("A").wait_at_most(LONG).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_lock_requested_right_after_a_release_is_kept() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.peer();
    for _ in 0..50 {
        let lock = ann.lock("A").wait_at_most(LONG).await.unwrap();
        assert_eq!(server.client().remainder("A").await.unwrap(), 0);
        drop(lock);
    }
}

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_nothing_behind() {
    let server = RealServer::with(MUTEX).await;
    let (ann, bob) = (server.peer(), server.peer());
    let lock = ann.lock("A").await.unwrap();

    let in_vain = bob.lock("A").wait_at_most(Duration::from_millis(300)).await;
    assert!(matches!(in_vain, Err(LockError::NotInTime { .. })), "{in_vain:?}");
    assert_eq!(server.client().semaphore("A").await.unwrap().status.waiters, 0);
    assert!(bob.lock("A").try_lock().await.unwrap().is_none());
    assert_eq!(server.client().semaphore("A").await.unwrap().status.waiters, 0);

    // A request that is dropped while it waits.
    let mut waiting = Box::pin(bob.lock("A").into_future());
    let bob_waits = |peers: &[PeerStatus]| peers.iter().any(|peer| peer.pending.is_some());
    tokio::select! {
        _ = &mut waiting => panic!("the lock is not free"),
        _ = server.until(bob_waits) => {}
    }
    drop(waiting);
    server.until(|peers| peers.iter().all(|peer| peer.pending.is_none())).await;
    drop(lock);
    drop(bob.lock("A").wait_at_most(LONG).await.unwrap());
}

#[tokio::test]
async fn locks_are_restored_at_a_restarted_server() {
    let server = RealServer::with(&[("A", 1, 0), ("B", 5, 1)]).await;
    let ann = server.watchful_peer();
    let outer = ann.lock("B").count(3).await.unwrap();
    let inner = ann.lock("A").await.unwrap();
    server.restart_with(&[("A", 1, 0), ("B", 5, 1)]);

    let id = ann.id().unwrap();
    let holds_both = |peer: &PeerStatus| peer.id == id && peer.held.len() == 2;
    server.until(|peers| peers.iter().any(holds_both)).await;
    assert!(outer.is_held() && inner.is_held());
    assert_eq!(server.client().remainder("B").await.unwrap(), 2);
    inner.release().await.unwrap();
    outer.release().await.unwrap();
}

#[tokio::test]
async fn a_waiting_request_is_repeated_at_a_restarted_server() {
    let server = RealServer::with(MUTEX).await;
    let stranger = server.client().new_peer(LONG).await.unwrap();
    let _ = server.client().acquire(stranger, "A", 1).await.unwrap();
    let bob = server.peer();
    let mut waiting = pin!(bob.lock("A").wait_at_most(LONG).into_future());
    let bob_waits = |peers: &[PeerStatus]| peers.iter().any(|peer| peer.pending.is_some());
    tokio::select! {
        _ = &mut waiting => panic!("the lock is not free"),
        _ = server.until(bob_waits) => {}
    }
    server.restart_with(MUTEX);
    let lock = waiting.await.unwrap();
    assert_eq!(Some(lock.peer_id()), bob.id());
}

#[tokio::test]
async fn a_lock_is_lost_before_the_lease_ends_if_the_server_is_unreachable() {
    let server = RealServer::with(MUTEX).await;
    let lease = Duration::from_secs(2);
    let ann = Peer::builder(&server.client()).lease(lease).build();
    let start = now();
    let lock = ann.lock("A").await.unwrap();
    server.stop_answering();
    let answered = now();

    let work = lock.run(pending::<()>()).await;
    assert_eq!(work, Err(Lost::Unreachable));
    assert!(start.elapsed() >= lease / 2, "the lock was certain until then");
    assert!(answered.elapsed() < lease, "the server grants it to others only then");
    assert!(!lock.is_held());
    assert_eq!(lock.time_left(), Duration::ZERO);
    assert_eq!(lock.release().await, Err(Lost::Unreachable));
}

#[tokio::test]
async fn a_peer_removed_by_an_operator_is_lost_and_not_restored() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.peer();
    let lock = ann.lock("A").await.unwrap();
    let id = ann.id().unwrap();
    // Wait until the server's uptime exceeds the time since the last confirmation.
    server.until(|_| lock.time_left() < LEASE * 29 / 30).await;
    assert!(server.client().remove_peer(id).await.unwrap());

    let lost = tokio::time::timeout(LONG, lock.lost());
    assert_eq!(lost.await.unwrap(), Lost::Revoked);
    assert_eq!(server.client().peers().await.unwrap().len(), 0);

    // A new request creates a new peer.
    let lock = ann.lock("A").await.unwrap();
    assert_ne!(lock.peer_id(), id);
    assert!(lock.is_held());
}

#[tokio::test]
async fn a_lock_is_lost_if_the_server_no_longer_has_the_semaphore() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.peer();
    let lock = ann.lock("A").await.unwrap();
    server.restart_with(&[("B", 1, 0)]);
    assert_eq!(lock.lost().await, Lost::Refused(Code::UnknownSemaphore));
}

#[tokio::test]
async fn a_lock_survives_the_loss_of_one_of_two_urls_of_the_server() {
    let server = RealServer::with(MUTEX).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unused_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let throttle = client(&unused_url).or_url(server.another_url().await).build().unwrap();
    let ann = Peer::builder(&throttle).lease(LEASE).build();
    let lock = ann.lock("A").await.unwrap();
    let in_vain = server.peer().lock("A").wait_at_most(2 * LEASE).await;
    assert!(matches!(in_vain, Err(LockError::NotInTime { .. })), "{in_vain:?}");
    assert!(lock.is_held());
}

#[tokio::test]
async fn work_runs_to_its_end_while_the_lock_is_held() {
    let server = RealServer::with(MUTEX).await;
    let lock = server.peer().lock("A").await.unwrap();
    assert_eq!(lock.run(async { 42 }).await, Ok(42));
    lock.release().await.unwrap();
}

#[tokio::test]
async fn locks_of_a_peer_are_nested_and_each_semaphore_is_held_once() {
    let server = RealServer::with(&[("outer", 5, 1), ("inner", 1, 0)]).await;
    let ann = server.peer();
    let mut outer = ann.lock("outer").count(4).await.unwrap();
    let inner = ann.lock("inner").await.unwrap();
    assert_eq!((outer.count(), inner.count()), (4, 1));
    let again = ann.lock("inner").await;
    assert!(matches!(again, Err(LockError::AlreadyHeld { .. })), "{again:?}");
    assert_eq!(server.client().peers().await.unwrap().len(), 1);

    outer.shrink(1).await.unwrap();
    assert_eq!(server.client().remainder("outer").await.unwrap(), 4);
    assert_eq!(outer.shrink(2).await.unwrap_err().code(), Some(Code::LockHierarchyViolation));
    inner.release().await.unwrap();
    drop(outer);
    let upwards = ann.lock("inner").await.unwrap();
    let refused = ann.lock("outer").await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::LockHierarchyViolation));
    assert!(upwards.is_held());
}

#[tokio::test]
async fn a_refusal_is_reported_and_does_not_end_the_peer() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.peer();
    let refused = ann.lock("B").await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::UnknownSemaphore));
    let refused = ann.lock("A").count(2).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::NeverAcquirable));
    drop(ann.lock("A").await.unwrap());
}

#[tokio::test]
async fn a_closed_peer_is_removed_with_all_its_locks() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.peer();
    let lock = ann.lock("A").await.unwrap();
    ann.clone().close().await;
    assert_eq!(server.client().peers().await.unwrap().len(), 0);
    assert_eq!(lock.lost().await, Lost::Closed);
    let refused = ann.lock("A").await;
    assert!(matches!(refused, Err(LockError::Lost { lost: Lost::Closed, .. })), "{refused:?}");
    // An unused peer sends nothing.
    server.peer().close().await;
}

#[tokio::test]
async fn a_peer_is_removed_when_it_and_all_its_locks_are_dropped() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.peer();
    let lock = ann.lock("A").await.unwrap();
    drop(ann);
    assert!(lock.is_held());
    assert_eq!(server.client().peers().await.unwrap().len(), 1);
    drop(lock);
    server.until(|peers| peers.is_empty()).await;
}

#[tokio::test]
async fn several_tasks_of_one_peer_wait_one_after_the_other() {
    let server = RealServer::with(&[("A", 1, 0), ("B", 1, 0)]).await;
    let (ann, bob) = (server.peer(), server.peer());
    let held = bob.lock("A").await.unwrap();
    let mut first = pin!(ann.lock("A").into_future());
    let bob_waits = |peers: &[PeerStatus]| peers.iter().any(|peer| peer.pending.is_some());
    tokio::select! {
        _ = &mut first => panic!("the lock is not free"),
        _ = server.until(bob_waits) => {}
    }
    assert!(
        ann.lock("B").try_lock().await.unwrap().is_none(),
        "a peer waits for one lock at a time"
    );
    held.release().await.unwrap();
    first.await.unwrap().release().await.unwrap();
    assert!(ann.lock("B").try_lock().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_never_hold_the_mutex_together() {
    let server = RealServer::with(MUTEX).await;
    let peers = [server.peer(), server.peer(), server.peer()];
    let held = contend(&peers, 60).await;
    assert!(held > 0, "the mutex was never held");
    // The peers are alive and hold nothing.
    server.until(|all| all.iter().all(|it| it.held.is_empty() && it.pending.is_none())).await;
    drop(peers);
    server.until(|peers| peers.is_empty()).await;
}

/// T8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_requests_and_answers_break_no_mutex_and_leave_nothing_behind() {
    let server = RealServer::with(MUTEX).await;
    let throttle = client(&server.lossy_url().await).build().unwrap();
    let peer = || Peer::builder(&throttle).lease(LEASE).build();
    let peers = [peer(), peer(), peer()];
    let held = contend(&peers, 30).await;
    assert!(held > 0, "the mutex was never held");
    // The peers are alive and hold nothing.
    server.until(|all| all.iter().all(|it| it.held.is_empty() && it.pending.is_none())).await;
    drop(peers);
    // A peer whose id got lost ends with its lease.
    server.until(|peers| peers.is_empty()).await;
}

/// T11. Several peers with three tasks each; some of their requests time out, and some are dropped. Returns
/// how often the mutex was held.
async fn contend(peers: &[Peer], rounds: u64) -> u64 {
    let inside = Arc::new(AtomicU64::new(0));
    let held = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for peer in peers {
        for task in 0..3 {
            let (peer, inside, held) = (peer.clone(), Arc::clone(&inside), Arc::clone(&held));
            tasks.spawn(async move {
                for round in 0..rounds {
                    let wait = Duration::from_millis(1 + (task + 7 * round) % 50);
                    let request = peer.lock("A").wait_at_most(wait);
                    let lock = if (task + round) % 4 == 0 {
                        let hung_up = tokio::time::timeout(wait / 2, request.into_future()).await;
                        let Ok(lock) = hung_up else { continue };
                        lock
                    } else {
                        request.await
                    };
                    let lock = match lock {
                        Ok(lock) => lock,
                        // In such a short time there may be no answer at all.
                        Err(
                            LockError::AlreadyHeld { .. }
                            | LockError::NotInTime { .. }
                            | LockError::Unreachable { .. },
                        ) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    held.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(
                        inside.fetch_add(1, Ordering::SeqCst),
                        0,
                        "another task holds the mutex"
                    );
                    tokio::task::yield_now().await;
                    assert!(lock.is_held());
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    held.load(Ordering::Relaxed)
}
