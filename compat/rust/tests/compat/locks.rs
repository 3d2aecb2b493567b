//! Requests, waits and releases of locks.

use throttle_client::Client;

use crate::{LONG, MINUTE, SHORT, server::Server};

#[tokio::test]
async fn a_lock_is_held_until_its_release() {
    let server = Server::start("A = 5");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    assert_eq!(client.remainder("A").await.unwrap(), 5);
    assert!(client.acquire(peer, "A", 3, None, None).await.unwrap());
    assert_eq!(client.remainder("A").await.unwrap(), 2);
    client.release(peer).await.unwrap();
    assert_eq!(client.remainder("A").await.unwrap(), 5);
}

#[tokio::test]
async fn all_arguments_are_optional() {
    for expires_in in [None, Some(MINUTE)] {
        for block_for in [None, Some(SHORT)] {
            let server = Server::start("A = 1");
            let client = server.client();
            let [one, two] = new_peers(&client).await;
            assert!(client.acquire(one, "A", 1, expires_in, block_for).await.unwrap());
            assert!(!client.acquire(two, "A", 1, expires_in, block_for).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_repeated_request_does_not_increase_the_held_count() {
    let server = Server::start("A = 3");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    for _ in 0..3 {
        assert!(client.acquire(peer, "A", 2, None, None).await.unwrap());
    }
    assert_eq!(client.remainder("A").await.unwrap(), 1);
}

#[tokio::test]
async fn a_peer_with_a_pending_lock_has_not_acquired() {
    let server = Server::start("A = 1");
    let client = server.client();
    let [one, two] = new_peers(&client).await;
    assert!(client.is_acquired(one).await.unwrap());
    assert!(client.acquire(one, "A", 1, None, None).await.unwrap());
    assert!(!client.acquire(two, "A", 1, None, None).await.unwrap());
    assert!(client.is_acquired(one).await.unwrap());
    assert!(!client.is_acquired(two).await.unwrap());
    client.release(one).await.unwrap();
    assert!(client.is_acquired(two).await.unwrap());
    assert!(client.acquire(two, "A", 1, None, None).await.unwrap());
}

#[tokio::test]
async fn a_small_lock_does_not_overtake_a_large_one() {
    let server = Server::start("A = 5");
    let client = server.client();
    let [small, large, late] = new_peers(&client).await;
    assert!(client.acquire(small, "A", 1, None, None).await.unwrap());
    assert!(!client.acquire(large, "A", 5, None, None).await.unwrap());
    assert!(!client.acquire(late, "A", 1, None, None).await.unwrap());
    client.release(small).await.unwrap();
    assert!(client.is_acquired(large).await.unwrap());
    assert!(!client.is_acquired(late).await.unwrap());
}

#[tokio::test]
async fn a_repeated_request_that_blocks_keeps_its_place() {
    let server = Server::start("A = 1");
    let client = server.client();
    let [holder, first, second] = new_peers(&client).await;
    client.acquire(holder, "A", 1, None, None).await.unwrap();
    for peer in [first, second] {
        assert!(!client.acquire(peer, "A", 1, None, None).await.unwrap());
    }
    // Their order of arrival does not matter, because both are in the queue already.
    let (first, second, ()) = tokio::join!(
        client.acquire(first, "A", 1, None, Some(LONG)),
        client.acquire(second, "A", 1, None, Some(SHORT)),
        async { client.release(holder).await.unwrap() },
    );
    assert!(first.unwrap());
    assert!(!second.unwrap());
}

#[tokio::test]
async fn a_blocked_request_is_answered_when_the_lock_is_free() {
    let server = Server::start("A = 1");
    let client = server.client();
    let [holder, other] = new_peers(&client).await;
    client.acquire(holder, "A", 1, None, None).await.unwrap();
    let waiting = client.acquire(other, "A", 1, None, Some(LONG));
    let release = async {
        // `is_acquired` returns false once the request has arrived.
        while client.is_acquired(other).await.unwrap() {}
        client.release(holder).await.unwrap();
    };
    let (answer, ()) = tokio::time::timeout(LONG / 2, async { tokio::join!(waiting, release) })
        .await
        .expect("it should be answered before the end of `block_for`");
    assert!(answer.unwrap());
}

#[tokio::test]
async fn one_lock_can_be_released_and_the_others_kept() {
    let server = Server::start("A = { max = 1, level = 1 }\nB = 1");
    let client = server.client();
    let [one, two] = new_peers(&client).await;
    assert!(client.acquire(one, "A", 1, None, None).await.unwrap());
    assert!(client.acquire(one, "B", 1, None, None).await.unwrap());
    assert!(!client.acquire(two, "B", 1, None, None).await.unwrap());
    client.release_lock(one, "B").await.unwrap();
    assert!(client.is_acquired(two).await.unwrap());
    assert_eq!(client.remainder("A").await.unwrap(), 0);
}

#[tokio::test]
async fn a_release_of_nothing_is_no_error() {
    let server = Server::start("A = 1");
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    client.release_lock(peer, "A").await.unwrap();
    client.release(peer).await.unwrap();
    client.release(peer).await.unwrap();
}

#[tokio::test]
async fn a_semaphore_may_have_any_name() {
    let names = ["/&", "/", " ", "a b", "a+b", "100%", "?#;=", "Zürich", "信号"];
    let semaphores = names.map(|name| format!("{name:?} = 2")).join("\n");
    let server = Server::start(&semaphores);
    let client = server.client();
    for name in names {
        let peer = client.new_peer(MINUTE).await.unwrap();
        assert!(client.acquire(peer, name, 1, Some(MINUTE), None).await.unwrap(), "{name}");
        assert_eq!(client.remainder(name).await.unwrap(), 1, "{name}");
        client.release_lock(peer, name).await.unwrap();
        assert_eq!(client.remainder(name).await.unwrap(), 2, "{name}");
    }
}

mod repaired {
    //! Defects of the server 0.5.13 that its clients notice.

    use super::*;

    #[tokio::test]
    async fn a_semaphore_may_have_the_name_of_a_route() {
        let server = Server::start("is_acquired = 1");
        let client = server.client();
        let peer = client.new_peer(MINUTE).await.unwrap();
        assert!(client.acquire(peer, "is_acquired", 1, None, None).await.unwrap());
        assert_eq!(client.remainder("is_acquired").await.unwrap(), 0);
        client.release_lock(peer, "is_acquired").await.unwrap();
        assert_eq!(client.remainder("is_acquired").await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_lock_can_shrink() {
        let server = Server::start("A = 5");
        let client = server.client();
        let peer = client.new_peer(MINUTE).await.unwrap();
        assert!(client.acquire(peer, "A", 5, None, None).await.unwrap());
        assert!(client.acquire(peer, "A", 2, None, None).await.unwrap());
        assert_eq!(client.remainder("A").await.unwrap(), 3);
    }
}

async fn new_peers<const N: usize>(client: &Client) -> [u64; N] {
    let mut peers = [0; N];
    for peer in &mut peers {
        *peer = client.new_peer(MINUTE).await.unwrap();
    }
    peers
}
