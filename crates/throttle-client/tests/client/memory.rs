//! What a client does at a server whose memory survives a restart (D10).
//!
//! The scripts have three requests in front: the peer, its lock, and a heartbeat.

use std::time::Duration;

use throttle_client::{Lock, Lost, Peer};

use crate::{
    real_server::LONG,
    scripted_server::{Cut, Reaction, Server, answer, json, text},
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

/// A lock at a server that follows the script after it has granted the lock.
async fn lock(script: impl IntoIterator<Item = Reaction>) -> (Lock, Server) {
    let granted = r#"{"peer_id":42,"semaphore":"A","count":1,"acquired":true,"fencing_token":7}"#;
    let script = [json(200, "42"), json(200, granted)].into_iter().chain(script);
    let server = Server::start(script).await;
    let peer = Peer::builder(&server.client()).lease(LONG).heartbeat_every(OFTEN).build();
    (peer.lock("A").await.unwrap(), server)
}

const OFTEN: Duration = Duration::from_millis(20);

fn restores(server: &Server) -> usize {
    server.lines().iter().filter(|line| line.starts_with("POST /restore")).count()
}

/// D10
#[tokio::test]
async fn a_peer_that_was_removed_before_a_restart_is_lost_at_once_and_never_restored() {
    let (lock, server) = lock([Cut, unknown_peer("1h"), text(200, "Ok")]).await;
    let lost = tokio::time::timeout(LONG, lock.lost()).await.unwrap();
    assert_eq!((lost, lock.check()), (Lost::Revoked, Err(Lost::Revoked)));
    assert_eq!(lock.release().await, Err(Lost::Revoked));
    assert_eq!(restores(&server), 0);
}

/// D10
#[tokio::test]
async fn a_release_after_a_restart_reports_that_the_peer_was_removed() {
    let (lock, server) = lock(std::iter::repeat_with(|| unknown_peer("1h")).take(10)).await;
    assert_eq!(lock.release().await, Err(Lost::Revoked));
    assert_eq!(restores(&server), 0);
}

#[tokio::test]
async fn a_peer_that_a_restart_made_the_server_forget_is_restored() {
    let kept = std::iter::repeat_with(|| text(200, "Ok")).take(1_000);
    let (lock, server) = lock([Cut, unknown_peer("0s")].into_iter().chain(kept)).await;
    let restored = async {
        while restores(&server) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, restored).await.unwrap();
    assert!(lock.is_held());
    lock.release().await.unwrap();
}
