//! Peers and locks at a server that was restarted and remembers everything.

use std::time::Duration;

use throttle_client::{LockError, Lost, Peer, Waiter};
use throttle_runtime::PeerId;

use crate::real_server::{LONG, MUTEX, RealServer};

/// A peer that takes the lock and releases it. Returns the token, which tells the order of the grants.
fn waiter(server: &RealServer) -> tokio::task::JoinHandle<Result<u64, LockError>> {
    let peer = server.quiet_peer();
    tokio::spawn(async move {
        let lock = peer.lock("A").await?;
        let token = lock.fencing_token().unwrap();
        let _ = lock.release().await;
        Ok(token)
    })
}

/// D6
#[tokio::test]
async fn a_held_lock_stays_with_its_holder_under_the_same_token() {
    let server = RealServer::with_memory(MUTEX).await;
    let (ann, bob) = (server.watchful_peer(), server.quiet_peer());
    let lock = ann.lock("A").await.unwrap();
    let token = lock.fencing_token().unwrap();
    for _ in 0..3 {
        server.restart_and_remember(MUTEX);
        assert!(server.client().is_held("A", token).await.unwrap());
        assert!(bob.lock("A").try_lock().await.unwrap().is_none(), "ann holds it");
        ann.renew().await.unwrap();
        assert!(lock.is_held());
    }
    let holders = server.client().semaphore("A").await.unwrap().held_by;
    assert_eq!((holders[0].peer_id, holders[0].fencing_token), (lock.peer_id(), token));
    lock.release().await.unwrap();
    assert!(!server.client().is_held("A", token).await.unwrap());
    let next = bob.lock("A").await.unwrap();
    assert!(next.fencing_token().unwrap() > token);
    next.release().await.unwrap();
    assert_eq!(server.restores(), 0);
}

/// D7
#[tokio::test]
async fn blocked_requests_keep_their_places_over_a_restart() {
    let server = RealServer::with_memory(MUTEX).await;
    let ann = server.quiet_peer();
    let lock = ann.lock("A").await.unwrap();
    let mut waiters = Vec::new();
    for number in 1..=3 {
        waiters.push(waiter(&server));
        server
            .until(|peers| peers.iter().filter(|it| it.pending.is_some()).count() == number)
            .await;
    }
    let places = server.client().semaphore("A").await.unwrap().queue;
    server.restart_and_remember(MUTEX);
    let after = server.client().semaphore("A").await.unwrap().queue;
    let ids = |queue: &[Waiter]| queue.iter().map(|it| it.peer_id).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&places));

    let mut token = lock.fencing_token().unwrap();
    lock.release().await.unwrap();
    for waiter in waiters {
        let next = tokio::time::timeout(LONG, waiter).await.unwrap().unwrap().unwrap();
        assert!(token < next, "a waiter was overtaken");
        token = next;
    }
    assert_eq!(server.restores(), 0);
}

/// D10
#[tokio::test]
async fn a_peer_that_was_removed_before_a_restart_is_lost_and_not_restored() {
    let server = RealServer::with_memory(MUTEX).await;
    let (ann, bob) = (server.quiet_peer(), server.quiet_peer());
    let lock = ann.lock("A").await.unwrap();
    assert!(server.client().remove_peer(lock.peer_id()).await.unwrap());
    let others = bob.lock("A").try_lock().await.unwrap().expect("it is free");
    server.restart_and_remember(MUTEX);
    assert_eq!(lock.release().await, Err(Lost::Revoked));
    assert_eq!(ann.check(), Err(Lost::Revoked));
    others.release().await.unwrap();
    assert_eq!(server.restores(), 0);
}

/// D10. The heartbeat is the first to notice it.
#[tokio::test]
async fn a_heartbeat_after_a_restart_finds_that_the_peer_was_removed() {
    let server = RealServer::with_memory(MUTEX).await;
    let ann = Peer::builder(&server.client()).lease(5 * LONG).heartbeat_every(LONG).build();
    let lock = ann.lock("A").await.unwrap();
    assert!(server.client().remove_peer(lock.peer_id()).await.unwrap());
    server.restart_and_remember(MUTEX);
    assert_eq!(ann.renew().await, Err(Lost::Revoked));
    assert_eq!(lock.check(), Err(Lost::Revoked));
    assert_eq!(server.restores(), 0);
}

/// D10. A waiter that was removed does not wait forever.
#[tokio::test]
async fn a_waiter_that_was_removed_before_a_restart_is_told_so() {
    let server = RealServer::with_memory(MUTEX).await;
    let ann = server.quiet_peer();
    let lock = ann.lock("A").await.unwrap();
    let waiting = waiter(&server);
    let peers = server.until(|peers| peers.iter().any(|it| it.pending.is_some())).await;
    let bob = peers.iter().find(|it| it.pending.is_some()).unwrap().id;
    // Nobody tells the waiter: its connection breaks at the same moment.
    server.stop_answering();
    let removed = server.handle().remove_peer(PeerId::new(bob).unwrap(), None).await;
    assert_eq!(removed, Ok(true));
    server.restart_and_remember(MUTEX);
    let refused = tokio::time::timeout(LONG, waiting).await.unwrap().unwrap();
    assert!(matches!(refused, Err(LockError::Lost { lost: Lost::Revoked, .. })), "{refused:?}");
    lock.release().await.unwrap();
    assert_eq!(server.restores(), 0);
}

/// A server without a memory forgets, and its clients restore, as ever.
#[tokio::test]
async fn a_peer_is_restored_at_a_server_that_forgot_it() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.watchful_peer();
    let lock = ann.lock("A").await.unwrap();
    server.restart_with(MUTEX);
    server.until(|peers| peers.len() == 1).await;
    assert!(lock.is_held());
    assert_eq!(server.restores(), 1);
    lock.release().await.unwrap();
}

/// A server that tells a grace period and a durable memory.
#[tokio::test]
async fn the_readiness_of_a_server_tells_what_a_restart_costs() {
    let forgetful = RealServer::with(MUTEX).await;
    let readiness = forgetful.client().readiness().await.unwrap().unwrap();
    assert_eq!((readiness.durable, readiness.grace_left), (false, None));
    let remembering = RealServer::with_memory(MUTEX).await;
    assert!(remembering.client().readiness().await.unwrap().unwrap().durable);
    let grace = Duration::from_secs(60);
    let started = RealServer::with_grace_period(MUTEX, grace).await;
    let left = started.client().readiness().await.unwrap().unwrap().grace_left.unwrap();
    assert!(grace / 2 < left && left <= grace, "{left:?}");
    assert!(started.client().ready().await.unwrap());
}
