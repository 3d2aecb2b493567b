//! Peers expire unless requests renew their leases.

use std::time::Duration;

use crate::{LONG, MINUTE, SHORT, server::Server};

#[tokio::test]
async fn the_lock_of_an_expired_peer_is_granted_to_the_waiter() {
    let server = Server::start("A = 1");
    let client = server.client();
    let dead = client.new_peer(MINUTE).await.unwrap();
    let alive = client.new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(dead, "A", 1, Some(SHORT), None).await.unwrap());
    let waiting = client.acquire(alive, "A", 1, None, Some(LONG));
    let answer = tokio::time::timeout(LONG / 2, waiting);
    assert!(answer.await.expect("it should be answered before the end of `block_for`").unwrap());
    let error = client.heartbeat(dead, MINUTE).await.unwrap_err();
    assert_eq!(error.to_string(), "Throttle client domain error: Unknown peer");
}

#[tokio::test]
async fn a_heartbeat_renews_the_lease() {
    let server = Server::start("A = 1");
    let client = server.client();
    let peer = client.new_peer(SHORT).await.unwrap();
    assert!(client.acquire(peer, "A", 1, None, None).await.unwrap());
    client.heartbeat(peer, MINUTE).await.unwrap();
    let contender = client.new_peer(MINUTE).await.unwrap();
    assert!(!client.acquire(contender, "A", 1, None, Some(3 * SHORT)).await.unwrap());
    assert!(client.is_acquired(peer).await.unwrap());
}

#[tokio::test]
async fn a_lock_request_renews_the_lease() {
    let server = Server::start("A = 1");
    let client = server.client();
    let holder = client.new_peer(MINUTE).await.unwrap();
    let peer = client.new_peer(SHORT).await.unwrap();
    assert!(client.acquire(holder, "A", 1, None, None).await.unwrap());
    assert!(!client.acquire(peer, "A", 1, Some(MINUTE), Some(3 * SHORT)).await.unwrap());
    assert!(!client.is_acquired(peer).await.unwrap());
}

#[tokio::test]
async fn a_duration_may_have_several_parts() {
    let server = Server::start("A = 1");
    let client = server.client();
    let lease = Duration::from_secs(26 * 60 * 60 + 62) + Duration::from_micros(1_001);
    let peer = client.new_peer(lease).await.unwrap();
    client.heartbeat(peer, lease).await.unwrap();
    assert!(client.acquire(peer, "A", 1, Some(lease), Some(lease / 2)).await.unwrap());
}

#[tokio::test]
async fn peers_are_listed_until_their_release() {
    let server = Server::start("A = 1");
    let client = server.client();
    assert_eq!(client.list_of_peers().await.unwrap().len(), 0);
    let peer = client.new_peer(MINUTE).await.unwrap();
    let other = client.new_peer(MINUTE).await.unwrap();
    client.acquire(peer, "A", 1, None, None).await.unwrap();
    client.acquire(other, "A", 1, None, None).await.unwrap();
    assert_eq!(client.list_of_peers().await.unwrap().len(), 2);
    client.release(peer).await.unwrap();
    assert_eq!(client.list_of_peers().await.unwrap().len(), 1);
}

mod repaired {
    //! Defects of the server 0.5.13 that its clients notice.

    use super::*;

    #[tokio::test]
    async fn a_lease_of_zero_ends_at_once() {
        let server = Server::start("A = 1");
        let client = server.client();
        let peer = client.new_peer(MINUTE).await.unwrap();
        client.acquire(peer, "A", 1, Some(Duration::ZERO), None).await.unwrap();
        assert_eq!(client.remainder("A").await.unwrap(), 1);
        client.is_acquired(peer).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_peer_does_not_expire_during_a_blocked_request() {
        let server = Server::start("A = 1");
        let client = server.client();
        let holder = client.new_peer(MINUTE).await.unwrap();
        let peer = client.new_peer(MINUTE).await.unwrap();
        client.acquire(holder, "A", 1, None, None).await.unwrap();
        let answer = client.acquire(peer, "A", 1, Some(2 * SHORT), Some(4 * SHORT));
        assert!(!answer.await.unwrap());
        assert!(!client.is_acquired(peer).await.unwrap());
    }
}
