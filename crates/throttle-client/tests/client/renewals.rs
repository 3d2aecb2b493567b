//! Peers that are renewed by the program.

use throttle_client::{Lost, Peer};

use crate::real_server::{LEASE, MUTEX, RealServer};

#[tokio::test]
async fn a_peer_without_heartbeats_keeps_its_locks_as_long_as_it_is_renewed() {
    let server = RealServer::with(MUTEX).await;
    let ann = Peer::builder(&server.client()).lease(LEASE).heartbeat(false).build();
    let lock = ann.lock("A").await.unwrap();
    for _ in 0..3 {
        server.until(|_| lock.time_left() < LEASE * 4 / 5).await;
        let left = lock.time_left();
        ann.renew().await.unwrap();
        assert!(lock.time_left() > left);
    }
    assert_eq!(server.client().remainder("A").await.unwrap(), 0);
    assert_eq!(lock.lost().await, Lost::Expired);
}

#[tokio::test]
async fn a_renewal_restores_the_peer_at_a_restarted_server() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.quiet_peer();
    let lock = ann.lock("A").await.unwrap();
    server.restart_with(MUTEX);
    assert_eq!(server.client().remainder("A").await.unwrap(), 1);
    ann.renew().await.unwrap();
    assert_eq!(server.client().remainder("A").await.unwrap(), 0);
    assert!(lock.is_held());
}

#[tokio::test]
async fn a_renewal_reports_that_the_peer_was_removed() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.quiet_peer();
    let lock = ann.lock("A").await.unwrap();
    let left = lock.time_left();
    // Wait until the server's uptime exceeds the time since the last confirmation.
    server.until(|_| lock.time_left() < left - LEASE / 30).await;
    assert!(server.client().remove_peer(lock.peer_id()).await.unwrap());
    assert_eq!(ann.renew().await, Err(Lost::Revoked));
    assert!(!lock.is_held());
}

#[tokio::test]
async fn a_peer_that_was_never_created_has_nothing_to_renew() {
    let server = RealServer::with(MUTEX).await;
    server.peer().renew().await.unwrap();
    assert_eq!(server.client().peers().await.unwrap(), []);
}

#[tokio::test]
async fn a_renewal_that_gets_no_answer_ends_with_the_lease() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.peer();
    let _lock = ann.lock("A").await.unwrap();
    server.stop_answering();
    assert_eq!(ann.renew().await, Err(Lost::Unreachable));
}
