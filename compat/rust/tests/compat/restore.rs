//! The server restarts without any state, and its clients restore their locks.

use std::collections::HashMap;

use crate::{MINUTE, server::Server};

#[tokio::test]
async fn locks_are_restored_after_a_restart() {
    let mut server = Server::start("A = { max = 3, level = 1 }\nB = 1");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(peer, "A", 2, None, None).await.unwrap());
    assert!(client.acquire(peer, "B", 1, None, None).await.unwrap());
    server.restart();
    // The first client may not have noticed yet that its connection is broken.
    let client = server.client();
    let error = client.heartbeat(peer, MINUTE).await.unwrap_err();
    assert_eq!(error.to_string(), "Throttle client domain error: Unknown peer");
    client.restore(peer, &locks([("A", 2), ("B", 1)]), MINUTE).await.unwrap();
    assert!(client.is_acquired(peer).await.unwrap());
    assert_eq!(client.remainder("A").await.unwrap(), 1);
    assert_eq!(client.remainder("B").await.unwrap(), 0);
    client.heartbeat(peer, MINUTE).await.unwrap();
    client.release_lock(peer, "B").await.unwrap();
    client.release(peer).await.unwrap();
    assert_eq!(client.remainder("A").await.unwrap(), 3);
}

#[tokio::test]
async fn restored_locks_may_exceed_the_maximum() {
    let server = Server::start("A = 1");
    let client = server.client();
    for peer in 1..=3 {
        client.restore(peer, &locks([("A", 1)]), MINUTE).await.unwrap();
    }
    assert_eq!(client.remainder("A").await.unwrap(), -2);
    let newcomer = client.new_peer(MINUTE).await.unwrap();
    assert!(!client.acquire(newcomer, "A", 1, None, None).await.unwrap());
    for peer in 1..=2 {
        client.release(peer).await.unwrap();
        assert!(!client.is_acquired(newcomer).await.unwrap());
    }
    client.release(3).await.unwrap();
    assert!(client.is_acquired(newcomer).await.unwrap());
}

#[tokio::test]
async fn a_repeated_restore_changes_nothing() {
    let server = Server::start("A = 3");
    let client = server.client();
    for _ in 0..2 {
        client.restore(4711, &locks([("A", 2)]), MINUTE).await.unwrap();
        assert_eq!(client.remainder("A").await.unwrap(), 1);
    }
    let error = client.restore(4711, &locks([("A", 1)]), MINUTE).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Throttle client domain error: Restore is not allowed to change existing peers."
    );
    assert_eq!(client.remainder("A").await.unwrap(), 1);
}

#[tokio::test]
async fn a_peer_without_locks_can_be_restored() {
    let server = Server::start("A = 1");
    let client = server.client();
    client.restore(4711, &HashMap::new(), MINUTE).await.unwrap();
    assert!(client.acquire(4711, "A", 1, None, None).await.unwrap());
}

#[tokio::test]
async fn a_restored_peer_may_have_any_id() {
    let server = Server::start("A = 4");
    let client = server.client();
    for peer in [1, 1 << 53, (1 << 63) + 12345, u64::MAX] {
        client.restore(peer, &locks([("A", 1)]), MINUTE).await.unwrap();
        client.heartbeat(peer, MINUTE).await.unwrap();
        assert!(client.acquire(peer, "A", 1, None, None).await.unwrap());
        assert!(client.is_acquired(peer).await.unwrap());
        client.release_lock(peer, "A").await.unwrap();
        client.release(peer).await.unwrap();
    }
    assert_eq!(client.remainder("A").await.unwrap(), 4);
}

fn locks<const N: usize>(locks: [(&str, u32); N]) -> HashMap<String, u32> {
    locks.map(|(semaphore, count)| (semaphore.to_owned(), count)).into()
}
