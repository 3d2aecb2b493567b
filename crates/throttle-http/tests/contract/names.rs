//! Names of semaphores are any text: percent-encoded in a path, and decoded exactly once.

use axum::http::Method;
use serde_json::json;
use throttle_wire::{Code, HeldGrant, LockAnswer};

use crate::support::{Server, check_refusal};

/// Names, and their form in a path.
const NAMES: &[(&str, &str)] = &[
    ("plain", "plain"),
    ("/&", "%2F%26"),
    (" ", "%20"),
    ("a+b", "a+b"),
    ("a?b#c", "a%3Fb%23c"),
    ("größe ☂", "gr%C3%B6%C3%9Fe%20%E2%98%82"),
    ("is_acquired", "is_acquired"),
    ("fencing", "fencing"),
    ("%41", "%2541"),
    ("..", ".."),
    (".", "%2e"),
    ("{semaphore}", "%7Bsemaphore%7D"),
    ("*", "*"),
    ("new\nline", "new%0Aline"),
    ("\0", "%00"),
];

#[tokio::test(start_paused = true)]
async fn every_name_can_be_locked_looked_at_and_released() {
    for &(name, encoded) in NAMES {
        // `A` would be reached if a name were decoded twice.
        let server = Server::start(&[(name, 1, 0), ("A", 1, 0)]);
        let peer = server.join().await;
        let path = format!("/peers/{peer}/{encoded}");

        let answer: LockAnswer = server.put(&path, "1").await.json();
        assert_eq!(answer.semaphore, name);
        assert_eq!(server.handle.remainder(name).await, Ok(0), "{name:?}");
        assert_eq!(server.handle.remainder("A").await, Ok(1), "{name:?}");

        let semaphore = server.get(&format!("/semaphores/{encoded}")).await.value();
        assert_eq!(semaphore["name"], json!(name));
        assert_eq!(semaphore["held_by"][0]["peer_id"], json!(peer));

        let token = answer.fencing_token.unwrap();
        let grant = server.get(&format!("/semaphores/{encoded}/fencing/{token}")).await;
        assert_eq!(grant.json::<HeldGrant>().semaphore, name);

        let query = encoded.replace('+', "%2B");
        let remainder = server.get(&format!("/remainder?semaphore={query}")).await;
        assert_eq!(remainder.value(), json!(0), "{name:?}");

        server.delete(&path).await.is_text(200, "Ok");
        assert_eq!(server.handle.remainder(name).await, Ok(1), "{name:?}");

        let body = json!({"expires_in": "1m", "peer_id": 7, "acquired": {name: 1}});
        server.post("/restore", &body.to_string()).await.is_text(200, "Ok");
        assert_eq!(server.handle.remainder(name).await, Ok(0), "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn is_acquired_is_a_question_only_with_get() {
    let server = Server::start(&[("is_acquired", 1, 0)]);
    for alias in ["peer", "peers"] {
        let path = format!("/{alias}/{}/is_acquired", server.join().await);
        assert_eq!(server.put(&path, "1").await.status, 200);
        assert_eq!(server.get(&path).await.value(), json!(true));
        assert_eq!(server.handle.remainder("is_acquired").await, Ok(0));
        server.delete(&path).await.is_text(200, "Ok");
        assert_eq!(server.handle.remainder("is_acquired").await, Ok(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_not_percent_encoded_utf_8_is_malformed() {
    let server = Server::start(&[]);
    let detail = "The path is not percent-encoded UTF-8.";
    for (method, path) in [
        (Method::DELETE, "/peers/5/%FF"),
        (Method::GET, "/semaphores/%C3%28"),
        (Method::GET, "/peers/%80"),
        // Lenient decoders disagree about these names.
        (Method::DELETE, "/peers/5/%zz"),
        (Method::PUT, "/peers/5/100%"),
        (Method::PUT, "/peers/5%/A"),
        (Method::GET, "/peers/%4/is_acquired"),
        (Method::GET, "/semaphores/%"),
    ] {
        check_refusal(&server, (method, path, ""), Code::MalformedPath, detail).await;
    }
}
