//! Refusals have the sentences that programs compare.

use std::collections::HashMap;

use throttle_client::Error;

use crate::{MINUTE, server::Server};

#[tokio::test]
async fn an_unknown_semaphore_is_refused_everywhere() {
    let server = Server::start("A = 1");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    let acquired = HashMap::from([("A".to_owned(), 1), ("B".to_owned(), 1)]);
    check_refused(client.acquire(peer, "B", 1, None, None).await, "Unknown semaphore");
    check_refused(client.release_lock(peer, "B").await, "Unknown semaphore");
    check_refused(client.remainder("B").await, "Unknown semaphore");
    check_refused(client.restore(4711, &acquired, MINUTE).await, "Unknown semaphore");
    assert_eq!(client.remainder("A").await.unwrap(), 1);
}

#[tokio::test]
async fn an_unknown_peer_is_refused_everywhere() {
    let server = Server::start("A = 1");
    let client = server.client();
    check_refused(client.acquire(4711, "A", 1, None, None).await, "Unknown peer");
    check_refused(client.release_lock(4711, "A").await, "Unknown peer");
    check_refused(client.heartbeat(4711, MINUTE).await, "Unknown peer");
    check_refused(client.is_acquired(4711).await, "Unknown peer");
}

#[tokio::test]
async fn a_count_must_be_positive_and_within_the_maximum() {
    let server = Server::start("A = 5");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    check_refused(
        client.acquire(peer, "A", 0, None, None).await,
        "Lock count must be a positive number. Found: 0.",
    );
    check_refused(
        client.acquire(peer, "A", 9, None, None).await,
        "Lock can never be acquired. Lock asks for count 9 yet full count is only 5.",
    );
    check_refused(
        client.acquire(peer, "A", u32::MAX, None, None).await,
        "Lock can never be acquired. Lock asks for count 4294967295 yet full count is only 5.",
    );
    assert_eq!(client.remainder("A").await.unwrap(), 5);
}

#[tokio::test]
async fn locks_must_be_taken_from_high_levels_to_low_ones() {
    let server = Server::start("A = { max = 1, level = 1 }\nB = 1");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(peer, "B", 1, None, None).await.unwrap());
    check_refused(client.acquire(peer, "A", 1, None, None).await, "violation");
    assert_eq!(client.remainder("A").await.unwrap(), 1);
    assert!(client.is_acquired(peer).await.unwrap());
}

#[tokio::test]
async fn a_peer_can_have_only_one_pending_lock() {
    let server = Server::start("A = { max = 1, level = 1 }\nB = 1");
    let client = server.client();
    let one = client.new_peer(MINUTE).await.unwrap();
    let two = client.new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(one, "A", 1, None, None).await.unwrap());
    assert!(!client.acquire(two, "A", 1, None, None).await.unwrap());
    check_refused(client.acquire(two, "B", 1, None, None).await, "Already pending.");
    client.release(one).await.unwrap();
    assert!(client.is_acquired(two).await.unwrap());
}

/// Checks the message of the server, before which the client puts words of its own.
#[track_caller]
fn check_refused<T>(result: Result<T, Error>, words: &str) {
    let Err(Error::DomainError(message)) = result else { panic!("expected {words:?}") };
    assert!(message.contains(words), "expected {words:?}, found {message:?}");
}
