//! What a client does at a server whose memory survives a restart (D10).
//!
//! Against scripted servers; `restarts` has the real routes.

use axum::http::header::RETRY_AFTER;
use throttle_client::{Lock, Lost, Peer};

use crate::{
    real_server::LONG,
    scripted_server::{Reaction, Server, answer, json, text},
};

/// The answer of a server that has been running since this moment, and remembers for so long.
fn unknown_peer(remembers_for: &str) -> Reaction {
    let body = format!(
        r#"{{"type": "urn:throttle:error:unknown_peer", "title": "Unknown peer", "status": 400,
            "detail": "Unknown peer", "code": "unknown_peer", "uptime": "0s", "uptime_seconds": 0.0,
            "remembers_for": "{remembers_for}"}}"#
    );
    answer(400, "application/problem+json", &body)
}

/// A peer with a lock at a server that follows the script after it has granted the lock. The peer sends no heartbeat by
/// itself during a test, so the order of the requests is that of the test.
async fn lock(script: impl IntoIterator<Item = Reaction>) -> (Peer, Lock, Server) {
    let granted = r#"{"peer_id":42,"semaphore":"A","count":1,"acquired":true,"fencing_token":7}"#;
    let script = [json(200, "42"), json(200, granted)].into_iter().chain(script);
    let server = Server::start(script).await;
    let peer = Peer::builder(&server.client()).lease(5 * LONG).build();
    let lock = peer.lock("A").await.unwrap();
    (peer, lock, server)
}

/// The answer to the removal of a peer, at the end of a test.
fn removed() -> Reaction {
    json(200, "\"Peer released\"")
}

fn restores(server: &Server) -> usize {
    server.lines().iter().filter(|line| line.starts_with("POST /restore")).count()
}

/// D10
#[tokio::test]
async fn a_peer_that_was_removed_before_a_restart_is_lost_at_once_and_never_restored() {
    let (ann, lock, server) = lock([unknown_peer("1h"), text(200, "Ok")]).await;
    assert_eq!(ann.renew().await, Err(Lost::Revoked));
    assert_eq!((lock.lost().await, lock.check()), (Lost::Revoked, Err(Lost::Revoked)));
    assert_eq!(lock.release().await, Err(Lost::Revoked));
    assert_eq!((restores(&server), server.lines().len()), (0, 3));
}

/// D10
#[tokio::test]
async fn a_release_after_a_restart_reports_that_the_peer_was_removed() {
    let (_ann, lock, server) = lock([unknown_peer("1h"), text(200, "Ok")]).await;
    assert_eq!(lock.release().await, Err(Lost::Revoked));
    assert_eq!(restores(&server), 0);
}

#[tokio::test]
async fn a_peer_that_a_restart_made_the_server_forget_is_restored() {
    let (ann, lock, server) =
        lock([unknown_peer("0s"), text(200, "Ok"), text(200, "Ok"), removed()]).await;
    assert_eq!(ann.renew().await, Ok(()));
    assert!(lock.is_held());
    assert_eq!(restores(&server), 1);
    lock.release().await.unwrap();
}

/// A server that cannot write ends, and the next one knows what it had confirmed.
#[tokio::test]
async fn a_server_whose_store_failed_costs_no_lock() {
    let failed = || {
        let body = r#"{"type": "urn:throttle:error:store_failed", "title": "Store failed", "status": 503,
            "detail": "The disk is full.", "code": "store_failed"}"#;
        answer(503, "application/problem+json", body).with(RETRY_AFTER, "0")
    };
    let (ann, lock, server) =
        lock([failed(), text(200, "Ok"), failed(), text(200, "Ok"), removed()]).await;
    assert_eq!(ann.renew().await, Ok(()));
    assert!(lock.is_held());
    lock.release().await.unwrap();
    assert_eq!((restores(&server), server.lines().len()), (0, 6));
}
