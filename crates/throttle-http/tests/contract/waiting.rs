//! Requests that wait for a lock, and how they end: by a grant, after `block_for`, by a broken connection, or
//! because there is nothing left to wait for.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use throttle_runtime::Settings;
use throttle_wire::LockAnswer;
use tokio::{task::JoinHandle, time::sleep};

use crate::support::{Answer, Server, request, run_ready_tasks, semaphores};

/// The answer of a request that must be complete now.
async fn answer_now(request: JoinHandle<Answer>) -> Answer {
    run_ready_tasks().await;
    assert!(request.is_finished(), "the request still waits");
    request.await.expect("no handler panics")
}

/// Breaks the connection of a waiting request.
async fn hang_up(request: JoinHandle<Answer>) {
    request.abort();
    assert!(request.await.expect_err("the request still waits").is_cancelled());
}

/// S3
#[tokio::test(start_paused = true)]
async fn a_long_poll_is_answered_as_soon_as_the_lock_is_granted() {
    let server = Server::start(&[("A", 1, 0)]);
    let holder = server.hold("A", 1).await;
    let waiter = server.join().await;
    let waiting = server.wait(waiter, "A?block_for=30s").await;
    sleep(Duration::from_secs(5)).await;
    server.delete(&format!("/peers/{holder}/A")).await;
    let answer = answer_now(waiting).await;
    assert_eq!(answer.status, 200);
    let answer: LockAnswer = answer.json();
    assert!(answer.acquired && answer.fencing_token.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_202_when_its_time_is_over() {
    let server = Server::start(&[("A", 1, 0)]);
    server.hold("A", 1).await;
    let waiter = server.join().await;
    let waiting = server.wait(waiter, "A?block_for=30s").await;
    sleep(Duration::from_millis(29_999)).await;
    run_ready_tasks().await;
    assert!(!waiting.is_finished());
    sleep(Duration::from_millis(2)).await;
    assert_eq!(answer_now(waiting).await.status, 202);
    assert_eq!(server.get(&format!("/peers/{waiter}/is_acquired")).await.value(), json!(false));
}

#[tokio::test(start_paused = true)]
async fn without_time_to_wait_the_answer_comes_at_once() {
    let server = Server::start(&[("A", 1, 0)]);
    server.hold("A", 1).await;
    for query in ["", "?", "?block_for=0s"] {
        let peer = server.join().await;
        let answer = server.put(&format!("/peers/{peer}/A{query}"), "1").await;
        assert_eq!(answer.status, 202, "{query}");
    }
}

/// S8: a blocked acquire is a sign of life.
#[tokio::test(start_paused = true)]
async fn a_peer_outlives_its_own_long_poll_and_its_lease_counts_from_the_answer() {
    let server = Server::start(&[("A", 1, 0)]);
    let holder = server.hold("A", 1).await;
    let waiter = server.join().await;
    let waiting = server.wait(waiter, "A?expires_in=10s&block_for=45s").await;
    sleep(Duration::from_secs(40)).await;
    assert_eq!(server.get(&format!("/peers/{waiter}")).await.value()["time_left"], "10s");
    server.delete(&format!("/peers/{holder}/A")).await;
    assert_eq!(answer_now(waiting).await.status, 200);
    sleep(Duration::from_secs(9)).await;
    assert_eq!(server.get(&format!("/peers/{waiter}")).await.value()["time_left"], "1s");
    sleep(Duration::from_secs(1)).await;
    server.get(&format!("/peers/{waiter}")).await.is_text(400, "Unknown peer");
}

#[tokio::test(start_paused = true)]
async fn the_locks_of_an_expired_peer_pass_to_the_next_waiter() {
    let server = Server::start(&[("A", 1, 0)]);
    server.hold("A", 1).await;
    sleep(Duration::from_secs(30)).await;
    let waiter = server.join().await;
    let waiting = server.wait(waiter, "A?block_for=50s").await;
    sleep(Duration::from_secs(31)).await;
    assert_eq!(answer_now(waiting).await.status, 200);
}

/// S15
#[tokio::test(start_paused = true)]
async fn a_waiter_whose_connection_broke_blocks_no_other_and_is_granted_nothing() {
    let server = Server::start(&[("A", 1, 0)]);
    let holder = server.hold("A", 1).await;
    let (gone, next) = (server.join().await, server.join().await);
    hang_up(server.wait(gone, "A?block_for=30s").await).await;
    let waiting = server.wait(next, "A?block_for=30s").await;
    let queue = server.get("/semaphores/A").await.value()["queue"].clone();
    assert_eq!((&queue[0]["peer_id"], &queue[0]["parked"]), (&json!(gone), &json!(true)));
    assert_eq!((&queue[1]["peer_id"], &queue[1]["parked"]), (&json!(next), &json!(false)));

    server.delete(&format!("/peers/{holder}/A")).await;
    assert_eq!(answer_now(waiting).await.status, 200);
    assert_eq!(server.get(&format!("/peers/{gone}/is_acquired")).await.value(), json!(false));
}

/// S15
#[tokio::test(start_paused = true)]
async fn a_peer_that_repeats_the_request_in_time_keeps_its_place() {
    let server = Server::start(&[("A", 1, 0)]);
    let holder = server.hold("A", 1).await;
    let (first, second) = (server.join().await, server.join().await);
    hang_up(server.wait(first, "A?block_for=30s").await).await;
    let second = server.wait(second, "A?block_for=30s").await;
    sleep(Duration::from_secs(9)).await;
    let first = server.wait(first, "A?block_for=30s").await;
    server.delete(&format!("/peers/{holder}/A")).await;
    assert_eq!(answer_now(first).await.status, 200);
    assert!(!second.is_finished());
}

/// S15
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_repeat_the_request_in_time_waits_no_more() {
    let server = Server::start(&[("A", 1, 0)]);
    server.hold("A", 1).await;
    let gone = server.join().await;
    hang_up(server.wait(gone, "A?block_for=30s").await).await;
    sleep(Duration::from_secs(10)).await;
    let semaphore = server.get("/semaphores/A").await.value();
    assert_eq!((&semaphore["waiters"], &semaphore["queue"]), (&json!(0), &json!([])));
}

/// S16
#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_removed_is_answered_at_once_with_unknown_peer() {
    let server = Server::start(&[("A", 1, 0)]);
    server.hold("A", 1).await;
    let waiter = server.join().await;
    let waiting = server.wait(waiter, "A?block_for=30s").await;
    server.delete(&format!("/peers/{waiter}")).await;
    answer_now(waiting).await.is_text(400, "Unknown peer");
}

/// S16
#[tokio::test(start_paused = true)]
async fn a_waiter_whose_request_is_withdrawn_is_answered_at_once_with_cancelled() {
    let server = Server::start(&[("A", 1, 0)]);
    server.hold("A", 1).await;
    let detail = "The pending lock was cancelled while the request waited for it.";

    let waiter = server.join().await;
    let waiting = server.wait(waiter, "A?block_for=30s").await;
    server.delete(&format!("/peers/{waiter}/A")).await;
    answer_now(waiting).await.is_text(409, detail);

    let mut request = request(Method::PUT, &format!("/peers/{waiter}/A?block_for=30s"), "1");
    request.headers_mut().insert("accept", "application/problem+json".parse().unwrap());
    let client = server.clone();
    let waiting = tokio::spawn(async move { client.send(request).await });
    run_ready_tasks().await;
    server.delete(&format!("/peers/{waiter}/A")).await;
    let problem: throttle_wire::Problem =
        serde_json::from_str(&answer_now(waiting).await.body).unwrap();
    assert_eq!(problem.code, throttle_wire::Code::Cancelled);
    assert_eq!((problem.status, problem.detail.as_str()), (409, detail));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_can_never_be_served_any_more_is_answered_at_once() {
    let server = Server::start(&[("A", 5, 0)]);
    server.hold("A", 5).await;
    let path = format!("/peers/{}/A?block_for=30s", server.join().await);
    let client = server.clone();
    let waiting = tokio::spawn(async move { client.put(&path, "4").await });
    run_ready_tasks().await;
    server.handle.reconfigure(Settings::default(), &semaphores(&[("A", 3, 0)])).await.unwrap();
    answer_now(waiting).await.is_text(
        409,
        "Lock can never be acquired. Lock asks for count 4 yet full count is only 3.",
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_server_drains_no_request_waits() {
    let server = Server::start(&[("A", 1, 0)]);
    server.hold("A", 1).await;
    let waiter = server.join().await;
    let waiting = server.wait(waiter, "A?block_for=30s").await;
    server.get("/ready").await.is_text(200, "Ready");
    server.handle.drain();
    assert_eq!(answer_now(waiting).await.status, 202);
    assert_eq!(server.put(&format!("/peers/{waiter}/A?block_for=30s"), "1").await.status, 202);
    let answer = server.get("/ready").await;
    answer.is_text(503, "The server is shutting down.");
    assert_eq!(answer.header("retry-after"), "1");
    server.get("/health").await.is_text(200, "Ok");
}
