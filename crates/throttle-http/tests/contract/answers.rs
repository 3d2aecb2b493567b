//! The successful answer of every row in the table of requests.

use std::{collections::BTreeMap, time::Duration};

use axum::http::Method;
use serde_json::{Value, json};
use throttle_wire::{Heartbeat, LockAnswer, NewPeer, PeerStatus, Restore, SemaphoreOverview};

use crate::support::{Server, request};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_new_peer_gets_an_id_that_every_client_can_read() {
    let server = Server::start(&[]);
    let answer = server.post("/new_peer", r#"{"expires_in":"5m"}"#).await;
    assert_eq!(answer.status, 200);
    let id: u64 = answer.json();
    assert!((1..1 << 53).contains(&id));
    assert_eq!(answer.body, id.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_ok_and_sets_the_lease() {
    let server = Server::start(&[]);
    let peer = server.join().await;
    server.put(&format!("/peers/{peer}"), r#"{"expires_in":"5m"}"#).await.is_text(200, "Ok");
    let peer: PeerStatus = server.get(&format!("/peers/{peer}")).await.json();
    assert_eq!((peer.expires_in, peer.time_left), (5 * MINUTE, 5 * MINUTE));
}

/// S4
#[tokio::test(start_paused = true)]
async fn removing_a_peer_twice_is_fine() {
    let server = Server::start(&[]);
    let path = format!("/peers/{}", server.join().await);
    for text in ["\"Peer released\"", "\"Peer not found\"", "\"Peer not found\""] {
        let answer = server.delete(&path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, text));
        assert_eq!(answer.header("content-type"), "application/json");
    }
    assert_eq!(server.delete("/peers/0").await.body, "\"Peer not found\"");
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_held_or_pending_and_says_so() {
    let server = Server::start(&[("A", 3, 0)]);
    let (one, two) = (server.join().await, server.join().await);

    let held = server.put(&format!("/peers/{one}/A"), "2").await;
    assert_eq!(held.status, 200);
    let held: LockAnswer = held.json();
    let token = held.fencing_token.expect("a held lock has a token");
    let expected = LockAnswer {
        peer_id: one,
        semaphore: "A".to_owned(),
        count: 2,
        acquired: true,
        fencing_token: Some(token),
    };
    assert_eq!(held, expected);

    let pending = server.put(&format!("/peers/{two}/A"), "2").await;
    assert_eq!(pending.status, 202);
    let expected = json!({"peer_id": two, "semaphore": "A", "count": 2, "acquired": false});
    assert_eq!(pending.value(), expected);
}

/// S4
#[tokio::test(start_paused = true)]
async fn repeating_an_acquire_gives_the_same_answer_and_token() {
    let server = Server::start(&[("A", 1, 0)]);
    let path = format!("/peers/{}/A", server.join().await);
    let first: LockAnswer = server.put(&path, "1").await.json();
    let second: LockAnswer = server.put(&path, "1").await.json();
    assert_eq!(first, second);
    assert_eq!(server.handle.remainder("A").await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn releasing_a_lock_is_ok_also_when_there_was_none() {
    let server = Server::start(&[("A", 1, 0), ("B", 1, 0)]);
    let holder = server.hold("A", 1).await;
    server.delete(&format!("/peers/{holder}/B")).await.is_text(200, "Ok");
    assert_eq!(server.handle.remainder("A").await, Ok(0), "the other lock is left alone");
    server.delete(&format!("/peers/{holder}/A")).await.is_text(200, "Ok");
    server.delete(&format!("/peers/{holder}/A")).await.is_text(200, "Ok");
    assert_eq!(server.handle.remainder("A").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn releasing_one_semaphore_does_not_cancel_the_wait_for_another() {
    let server = Server::start(&[("A", 1, 0), ("B", 1, 0)]);
    server.hold("A", 1).await;
    let waiter = server.join().await;
    server.put(&format!("/peers/{waiter}/A"), "1").await;
    server.delete(&format!("/peers/{waiter}/B")).await.is_text(200, "Ok");
    assert_eq!(server.get(&format!("/peers/{waiter}/is_acquired")).await.body, "false");
    server.delete(&format!("/peers/{waiter}/A")).await.is_text(200, "Ok");
    assert_eq!(server.get(&format!("/peers/{waiter}/is_acquired")).await.body, "true");
}

#[tokio::test(start_paused = true)]
async fn peers_are_listed_with_and_without_a_slash() {
    let server = Server::start(&[("A", 1, 0)]);
    assert_eq!(server.get("/peers/").await.value(), json!([]));
    let holder = server.hold("A", 1).await;
    for path in ["/peers/", "/peers", "/peer/", "/peer"] {
        assert_eq!(server.get(path).await.value()[0]["id"], json!(holder), "{path}");
    }
}

/// S9
#[tokio::test(start_paused = true)]
async fn a_restored_peer_holds_what_it_held_even_beyond_the_maximum() {
    let server = Server::start(&[("A", 2, 0), ("B", 1, 0)]);
    let body = r#"{"expires_in":"5m","peer_id":42,"acquired":{"A":3,"B":1}}"#;
    server.post("/restore", body).await.is_text(200, "Ok");
    server.post("/restore", body).await.is_text(200, "Ok");
    assert_eq!(server.get("/remainder?semaphore=A").await.value(), json!(-1));
    let peer: PeerStatus = server.get("/peers/42").await.json();
    let held = peer.held.iter().map(|lock| (lock.semaphore.as_str(), lock.count));
    assert_eq!(held.collect::<BTreeMap<_, _>>(), BTreeMap::from([("A", 3), ("B", 1)]));
}

/// Ids of the old system have 64 bits.
#[tokio::test(start_paused = true)]
async fn a_peer_with_an_id_of_64_bits_comes_back_unchanged() {
    let server = Server::start(&[("A", 1, 0)]);
    let id = u64::MAX;
    let body = format!(r#"{{"expires_in":"5m","peer_id":{id},"acquired":{{"A":1}}}}"#);
    server.post("/restore", &body).await.is_text(200, "Ok");
    let peer: PeerStatus = server.get(&format!("/peers/{id}")).await.json();
    assert_eq!(peer.id, id);
    server.delete(&format!("/peers/{id}/A")).await.is_text(200, "Ok");
}

#[tokio::test(start_paused = true)]
async fn the_remainder_is_a_number() {
    let server = Server::start(&[("A", 5, 0)]);
    server.hold("A", 3).await;
    let answer = server.get("/remainder?semaphore=A").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "2"));
}

#[tokio::test(start_paused = true)]
async fn peer_is_an_alias_of_peers_on_every_route() {
    let server = Server::start(&[("A", 1, 0)]);
    let peer = server.join().await;
    assert_eq!(server.put(&format!("/peer/{peer}/A"), "1").await.status, 200);
    assert_eq!(server.get(&format!("/peer/{peer}/is_acquired")).await.body, "true");
    assert_eq!(server.get(&format!("/peer/{peer}")).await.value()["id"], json!(peer));
    let heartbeat = server.put(&format!("/peer/{peer}"), r#"{"expires_in":"1m"}"#).await;
    heartbeat.is_text(200, "Ok");
    server.delete(&format!("/peer/{peer}/A")).await.is_text(200, "Ok");
    assert_eq!(server.delete(&format!("/peer/{peer}")).await.body, "\"Peer released\"");
}

#[tokio::test(start_paused = true)]
async fn labels_tell_who_holds_and_who_waits() {
    let server = Server::start(&[("A", 1, 0)]);
    let labelled = |host| format!(r#"{{"expires_in":"1m","labels":{{"host":"{host}"}}}}"#);
    let holder: u64 = server.post("/new_peer", &labelled("worker-7")).await.json();
    let waiter: u64 = server.post("/new_peer", &labelled("worker-8")).await.json();
    server.put(&format!("/peers/{holder}/A"), "1").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    server.put(&format!("/peers/{waiter}/A"), "1").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;

    let answer = server.get("/semaphores/A").await;
    let SemaphoreOverview { status, held_by, queue } = answer.json();
    assert_eq!((status.held, status.pending, status.remainder), (1, 1, 0));
    assert_eq!((status.holders, status.waiters), (1, 1));
    assert_eq!((held_by[0].peer_id, &*held_by[0].labels["host"]), (holder, "worker-7"));
    assert_eq!((queue[0].peer_id, &*queue[0].labels["host"]), (waiter, "worker-8"));
    assert_eq!(answer.value()["held_by"][0]["held_for"], json!("11s 500ms"));
    assert_eq!(answer.value()["held_by"][0]["time_left"], json!("48s 500ms"));
    assert_eq!(answer.value()["queue"][0]["waiting_for"], json!("1s 500ms"));
    assert_eq!(answer.value()["longest_pending"], json!("1s 500ms"));
    check_durations(&answer.value());

    let peer = server.get(&format!("/peers/{waiter}")).await.value();
    assert_eq!(peer["labels"], json!({"host": "worker-8"}));
    let pending = json!({
        "semaphore": "A", "count": 1, "waiting_for": "1s 500ms",
        "waiting_for_seconds": 1.5, "parked": false, "place": 1,
    });
    assert_eq!(peer["pending"], pending);
    check_durations(&peer);
    check_durations(&server.get("/peers").await.value());
    check_durations(&server.get("/semaphores").await.value());
}

/// Section 3 of the interface: each duration comes twice, as text and in seconds.
fn check_durations(value: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(check_durations),
        Value::Object(members) => {
            for (name, value) in members {
                let text = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
                let seconds = members.get(&format!("{name}_seconds")).map(Value::as_f64);
                assert_eq!(seconds, text.map(|text| Some(text.as_secs_f64())), "{name}");
                check_durations(value);
            }
        }
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn semaphores_are_listed_by_name_in_numbers() {
    let server = Server::start(&[("b", 5, -2), ("a", 1, 0)]);
    server.hold("b", 4).await;
    for path in ["/semaphores", "/semaphores/"] {
        let expected = json!([
            {
                "name": "a", "max": 1, "level": 0, "held": 0, "pending": 0, "remainder": 1,
                "holders": 0, "waiters": 0, "longest_pending": "0s",
                "longest_pending_seconds": 0.0,
            },
            {
                "name": "b", "max": 5, "level": -2, "held": 4, "pending": 0, "remainder": 1,
                "holders": 1, "waiters": 0, "longest_pending": "0s",
                "longest_pending_seconds": 0.0,
            },
        ]);
        assert_eq!(server.get(path).await.value(), expected);
    }
}

/// The routes read bodies member by member; what the shared types write must be what they read.
#[tokio::test(start_paused = true)]
async fn bodies_as_the_shared_types_write_them_are_understood() {
    let server = Server::start(&[("A", 9, 0)]);
    let labels = BTreeMap::from([("job".to_owned(), "nightly".to_owned())]);
    let write = |body| serde_json::to_string(&body).unwrap();

    let new_peer = NewPeer { expires_in: 90 * MINUTE, labels: labels.clone() };
    let id: u64 = server.post("/new_peer", &serde_json::to_string(&new_peer).unwrap()).await.json();
    let peer: PeerStatus = server.get(&format!("/peers/{id}")).await.json();
    assert_eq!((peer.expires_in, &peer.labels), (90 * MINUTE, &labels));

    let lease = Heartbeat { expires_in: Duration::from_millis(1_500) };
    let body = serde_json::to_string(&lease).unwrap();
    server.put(&format!("/peers/{id}"), &body).await.is_text(200, "Ok");

    let acquired = BTreeMap::from([("A".to_owned(), 7)]);
    let (labels_too, sequence) = (labels.clone(), None);
    let restore =
        Restore { expires_in: MINUTE, peer_id: 5, acquired, labels: labels_too, sequence };
    server.post("/restore", &write(restore)).await.is_text(200, "Ok");
    let peer: PeerStatus = server.get("/peers/5").await.json();
    assert_eq!((peer.held[0].count, peer.labels), (7, labels));
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_like_get_without_a_body() {
    let server = Server::start(&[]);
    for path in ["/health", "/peers/", "/semaphores"] {
        let answer = server.send(request(Method::HEAD, path, "")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        assert_eq!(answer.header("content-length"), "2", "{path}");
    }
}
