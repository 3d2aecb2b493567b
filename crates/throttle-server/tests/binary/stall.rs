//! A server that was suspended for a while.
#![cfg(unix)]

use crate::support::{Request, Server};

/// S8: heartbeats that wait in the sockets of the server are in time.
#[test]
fn no_peer_expires_in_a_server_that_was_stopped_for_longer_than_its_lease() {
    let mut server = Server::start("[semaphores]\nA = 1\n");
    let lease = r#"{"expires_in":"2s"}"#;
    let (_, holder) = server.request("POST", "/new_peer", lease);
    let (path, lock) = (format!("/peers/{holder}"), format!("/peers/{holder}/A"));
    assert_eq!(server.request("PUT", &lock, "1").0, 200);
    let rival = server.wait_for_lock("A");
    while server.waiters("A") < 1 {}

    let heartbeat = |server: &Server| Request::send(server.address, "PUT", &path, lease);
    assert_eq!(heartbeat(&server).answer().0, 200);
    server.signal("STOP");
    let waiting = heartbeat(&server);
    server.continue_after("2.5");
    assert_eq!(waiting.answer(), (200, "Ok".to_owned()));
    assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "0");
    let line = server.wait_for("stood still");
    assert!(line.contains("WARN") && line.contains("stalls=1"), "{line}");
    let metrics = server.request("GET", "/metrics", "").1;
    assert!(metrics.contains("\nthrottle_stalls_total 1\n"), "{metrics}");

    // Only now is the lock granted to the other peer.
    assert_eq!(server.request("DELETE", &lock, "").0, 200);
    assert_eq!(rival.answer().0, 200);
}
