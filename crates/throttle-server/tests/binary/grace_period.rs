//! Servers that grant nothing new for a while after they have forgotten everything.

use serde_json::json;

use crate::support::Server;

const LONG: &str = "[restart]\ngrace_period = '1h'\n[semaphores]\nA = 1\n";

#[test]
fn in_the_grace_period_holders_restore_and_others_queue() {
    let server = Server::start(LONG);
    assert!(server.metric("throttle_grace_seconds_left").unwrap() > 3_500.0);
    let (status, text) = server.request("GET", "/ready", "");
    assert!(status == 200 && text.contains("Nothing new is granted"), "{text}");
    let newcomer = server.new_peer();
    assert_eq!(server.lock(&newcomer, "A").0, 202);
    let restore = r#"{"expires_in": "1h", "peer_id": 42, "acquired": {"A": 1}}"#;
    assert_eq!(server.request("POST", "/restore", restore).0, 200);
    assert_eq!(server.lock("42", "A").0, 200);
    assert_eq!(server.request("DELETE", "/peers/42/A", "").0, 200);
    assert_eq!(server.json("/semaphores/A")["held"], json!(0));
    assert_eq!(server.waiters("A"), 1);
}

#[test]
fn after_the_grace_period_the_queue_is_served() {
    let mut server = Server::start("[restart]\ngrace_period = '700ms'\n[semaphores]\nA = 1\n");
    let line = server.log.lines().find(|line| line.contains("nothing new is granted"));
    assert!(line.is_some_and(|line| line.contains("INFO")), "{}", server.log);
    assert_eq!(server.wait_for_lock("A").answer().0, 200);
    assert_eq!(server.metric("throttle_grace_seconds_left"), Some(0.0));
    assert_eq!(server.request("GET", "/ready", "").1, "Ready");
    server.kill();
}

/// A new store does not know all holders yet, after a restart neither.
#[test]
fn with_a_store_the_grace_period_applies_while_the_store_is_new() {
    let mut server = Server::start(&format!("[store]\n{LONG}"));
    let peer = server.new_peer();
    assert_eq!(server.lock(&peer, "A").0, 202);
    server.kill();
    server.start_again();
    assert_eq!(server.lock(&peer, "A").0, 202);
    assert!(server.metric("throttle_grace_seconds_left").unwrap() > 3_500.0);
}
