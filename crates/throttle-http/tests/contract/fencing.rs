//! `GET /semaphores/{name}/fencing/{token}`: a resource asks whether the lock of a writer is held at this moment.

use std::time::Duration;

use axum::http::Method;
use throttle_runtime::Settings;
use throttle_wire::{Code, HeldGrant, LockAnswer};
use tokio::time::sleep;

use crate::support::{Answer, Server, check_refusal, request, semaphores};

/// A new peer that holds `count` of `A`, and the token of its lock.
async fn hold(server: &Server, count: u64) -> (u64, u64) {
    let peer = server.join().await;
    (peer, acquire(server, peer, count).await)
}

async fn acquire(server: &Server, peer: u64, count: u64) -> u64 {
    let answer = server.put(&format!("/peers/{peer}/A"), &count.to_string()).await;
    answer.json::<LockAnswer>().fencing_token.expect("the lock is held")
}

async fn ask(server: &Server, token: u64) -> Answer {
    server.get(&format!("/semaphores/A/fencing/{token}")).await
}

#[track_caller]
fn is_not_held(answer: &Answer) {
    answer.is_text(404, "No lock is held under this fencing token.");
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_lock_is_held_shows_the_holder() {
    let server = Server::start(&[("A", 5, 0)]);
    let body = r#"{"expires_in":"5m","labels":{"host":"worker-7"}}"#;
    let peer: u64 = server.post("/new_peer", body).await.json();
    let token = acquire(&server, peer, 3).await;
    sleep(Duration::from_millis(1_500)).await;
    let grant: HeldGrant = ask(&server, token).await.json();
    assert_eq!((grant.semaphore.as_str(), grant.holder.peer_id), ("A", peer));
    assert_eq!((grant.holder.fencing_token, grant.holder.count), (token, 3));
    assert_eq!(grant.holder.held_for, Duration::from_millis(1_500));
    assert_eq!(grant.holder.time_left, Duration::from_millis(298_500));
    assert_eq!(grant.holder.labels["host"], "worker-7");
    // Shrinking the lock is no new grant.
    assert_eq!(acquire(&server, peer, 2).await, token);
    assert_eq!(ask(&server, token).await.json::<HeldGrant>().holder.count, 2);
}

/// Demand D4: a client that stood still beyond its lease must not write with its old token.
#[tokio::test(start_paused = true)]
async fn a_token_ends_with_its_lock_however_that_ends() {
    let server = Server::start(&[("A", 1, 0)]);
    let (peer, released) = hold(&server, 1).await;
    server.delete(&format!("/peers/{peer}/A")).await;
    is_not_held(&ask(&server, released).await);
    let again = acquire(&server, peer, 1).await;
    assert!(again > released);
    is_not_held(&ask(&server, released).await);
    server.delete(&format!("/peers/{peer}")).await;
    is_not_held(&ask(&server, again).await);
    let (_, expired) = hold(&server, 1).await;
    sleep(Duration::from_secs(59)).await;
    assert_eq!(ask(&server, expired).await.status, 200);
    sleep(Duration::from_secs(1)).await;
    is_not_held(&ask(&server, expired).await);
}

/// With a maximum above one, older tokens are as good as younger ones, so comparing them is not enough.
#[tokio::test(start_paused = true)]
async fn every_holder_of_a_semaphore_has_a_token_that_is_held() {
    let server = Server::start(&[("A", 3, 0), ("B", 3, 0)]);
    let (_, first) = hold(&server, 1).await;
    let (second_peer, second) = hold(&server, 1).await;
    let (_, third) = hold(&server, 1).await;
    server.delete(&format!("/peers/{second_peer}/A")).await;
    for (token, status) in [
        (first - 1, 404),
        (first, 200),
        (second, 404),
        (third, 200),
        (third + 1, 404),
        (0, 404),
        ((1 << 53) - 1, 404),
    ] {
        assert_eq!(ask(&server, token).await.status, status, "{token}");
    }
    let other = server.get(&format!("/semaphores/B/fencing/{first}")).await;
    is_not_held(&other);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_no_lock_has_is_not_held_in_both_forms_of_an_error() {
    let server = Server::start(&[("A", 1, 0)]);
    let detail = "No lock is held under this fencing token.";
    for token in
        ["0", "7", "007", "9007199254740991", "9007199254740992", "99999999999999999999999"]
    {
        let path = format!("/semaphores/A/fencing/{token}");
        check_refusal(&server, (Method::GET, &path, ""), Code::NotHeld, detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_lock_that_was_restored_is_new() {
    let server = Server::start(&[("A", 1, 0)]);
    let (peer, token) = hold(&server, 1).await;
    server.delete(&format!("/peers/{peer}")).await;
    let body = format!(r#"{{"expires_in":"1m","peer_id":{peer},"acquired":{{"A":1}}}}"#);
    server.post("/restore", &body).await.is_text(200, "Ok");
    is_not_held(&ask(&server, token).await);
    assert_eq!(ask(&server, token + 1).await.json::<HeldGrant>().holder.peer_id, peer);
}

#[tokio::test(start_paused = true)]
async fn the_path_has_a_configured_semaphore_and_a_number() {
    let server = Server::start(&[("A", 1, 0)]);
    for token in ["ann", "-1", "+1", "1.0", "0x10", "%20", "1e3", "7%37x"] {
        let path = format!("/semaphores/A/fencing/{token}");
        let detail = "The path must have a fencing token, an integer, behind `/fencing/`.";
        check_refusal(&server, (Method::GET, &path, ""), Code::MalformedPath, detail).await;
    }
    for token in ["7", "99999999999999999999999"] {
        let path = format!("/semaphores/B/fencing/{token}");
        let request = (Method::GET, path.as_str(), "");
        check_refusal(&server, request, Code::UnknownSemaphore, "Unknown semaphore").await;
    }
    let path = format!("/semaphores/{}/fencing/7", "x".repeat(1_025));
    let long = server.get(&path).await;
    assert_eq!(long.status, 422, "{long:?}");
    for path in ["/semaphores/%FF/fencing/7", "/semaphores/A/fencing/%FF"] {
        let detail = "The path is not percent-encoded UTF-8.";
        check_refusal(&server, (Method::GET, path, ""), Code::MalformedPath, detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_question_is_asked_with_get_or_head() {
    let server = Server::start(&[("A", 1, 0)]);
    let (_, token) = hold(&server, 1).await;
    let path = format!("/semaphores/A/fencing/{token}");
    assert_eq!(server.send(request(Method::HEAD, &path, "")).await.status, 200);
    assert_eq!(server.send(request(Method::HEAD, "/semaphores/A/fencing/7", "")).await.status, 404);
    for method in [Method::PUT, Method::POST, Method::DELETE] {
        let answer = server.send(request(method, &path, "")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
    }
}

/// D9: the work that is done under the lock of a retired semaphore may go on.
#[tokio::test(start_paused = true)]
async fn the_token_of_a_retired_semaphore_is_held_until_its_last_lock_ends() {
    let server = Server::start(&[("A", 1, 0)]);
    let (peer, token) = hold(&server, 1).await;
    server.handle.reconfigure(Settings::default(), &semaphores(&[])).await.unwrap();
    assert_eq!(ask(&server, token).await.status, 200);
    server.delete(&format!("/peers/{peer}/A")).await;
    ask(&server, token).await.is_text(400, "Unknown semaphore");
}
