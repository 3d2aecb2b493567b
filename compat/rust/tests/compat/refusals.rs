//! What cannot be done is refused in the sentences that programs look for.

use std::collections::HashMap;

use throttle_client::Error;

use crate::{MINUTE, server::Server};

#[tokio::test]
async fn an_unknown_semaphore_is_refused_everywhere() {
    let server = Server::start("A = 1");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    let acquired = HashMap::from([("A".to_owned(), 1), ("B".to_owned(), 1)]);
    refused(client.acquire(peer, "B", 1, None, None).await, "Unknown semaphore");
    refused(client.release_lock(peer, "B").await, "Unknown semaphore");
    refused(client.remainder("B").await, "Unknown semaphore");
    refused(client.restore(4711, &acquired, MINUTE).await, "Unknown semaphore");
    assert_eq!(client.remainder("A").await.unwrap(), 1);
}

#[tokio::test]
async fn an_unknown_peer_is_refused_everywhere() {
    let server = Server::start("A = 1");
    let client = server.client();
    refused(client.acquire(4711, "A", 1, None, None).await, "Unknown peer");
    refused(client.release_lock(4711, "A").await, "Unknown peer");
    refused(client.heartbeat(4711, MINUTE).await, "Unknown peer");
    refused(client.is_acquired(4711).await, "Unknown peer");
}

#[tokio::test]
async fn a_count_is_positive_and_within_the_maximum() {
    let server = Server::start("A = 5");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    refused(
        client.acquire(peer, "A", 0, None, None).await,
        "Lock count must be a positive number. Found: 0.",
    );
    refused(
        client.acquire(peer, "A", 9, None, None).await,
        "Lock can never be acquired. Lock asks for count 9 yet full count is only 5.",
    );
    refused(
        client.acquire(peer, "A", u32::MAX, None, None).await,
        "Lock can never be acquired. Lock asks for count 4294967295 yet full count is only 5.",
    );
    assert_eq!(client.remainder("A").await.unwrap(), 5);
}

#[tokio::test]
async fn locks_are_taken_from_high_levels_to_low_ones() {
    let server = Server::start("A = { max = 1, level = 1 }\nB = 1");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(peer, "B", 1, None, None).await.unwrap());
    refused(client.acquire(peer, "A", 1, None, None).await, "violation");
    assert_eq!(client.remainder("A").await.unwrap(), 1);
    assert!(client.is_acquired(peer).await.unwrap());
}

#[tokio::test]
async fn a_peer_waits_for_one_lock_at_a_time() {
    let server = Server::start("A = { max = 1, level = 1 }\nB = 1");
    let client = server.client();
    let one = client.new_peer(MINUTE).await.unwrap();
    let two = client.new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(one, "A", 1, None, None).await.unwrap());
    assert!(!client.acquire(two, "A", 1, None, None).await.unwrap());
    refused(client.acquire(two, "B", 1, None, None).await, "Already pending.");
    client.release(one).await.unwrap();
    assert!(client.is_acquired(two).await.unwrap());
}

/// The client passes on what the server says, behind words of its own.
#[track_caller]
fn refused<T>(result: Result<T, Error>, words: &str) {
    let Err(Error::DomainError(message)) = result else { panic!("expected {words:?}") };
    assert!(message.contains(words), "expected {words:?}, found {message:?}");
}
