//! Servers with a store that are killed and started again.

use serde_json::Value;

use crate::support::{Request, Server};

const CONFIG: &str = "[store]\n[semaphores]\nA = 1\nB = 3\n";

/// What a server says about a peer, without the times that go on.
fn facts(server: &Server, peer: &str) -> Value {
    let mut peer = server.json(&format!("/peers/{peer}"));
    let forget = |value: &mut Value| {
        value.as_object_mut().unwrap().retain(|key, _| {
            !["time_left", "held_for", "waiting_for", "place"].iter().any(|it| key.starts_with(it))
        });
    };
    forget(&mut peer);
    peer["held"].as_array_mut().unwrap().iter_mut().for_each(forget);
    if peer["pending"].is_object() {
        forget(&mut peer["pending"]);
        // Nobody attends a waiter whose connection broke.
        peer["pending"].as_object_mut().unwrap().remove("parked");
    }
    peer
}

/// A request for a lock that waits, by a peer that exists.
fn wait_for_lock(server: &Server, peer: &str, semaphore: &str) -> Request {
    let path = format!("/peers/{peer}/{semaphore}?block_for=1h");
    Request::send(server.address, "PUT", &path, "1")
}

/// D2, D7
#[test]
fn after_a_kill_holders_hold_waiters_wait_in_order_and_nobody_else_got_in() {
    let mut server = Server::start(CONFIG);
    let labels = r#"{"expires_in":"1h","labels":{"host":"worker-7"}}"#;
    let (_, holder) = server.request("POST", "/new_peer", labels);
    let (status, lock) = server.lock(&holder, "A");
    assert_eq!(status, 200, "{lock}");
    let other = server.new_peer();
    assert_eq!(server.request("PUT", &format!("/peers/{other}/B?sequence=5"), "2").0, 200);
    let [first, second] = [server.new_peer(), server.new_peer()];
    for (peer, place) in [(&first, 1), (&second, 2)] {
        let _request = wait_for_lock(&server, peer, "A");
        while server.waiters("A") < place {}
    }
    let removed = server.new_peer();
    assert_eq!(server.request("DELETE", &format!("/peers/{removed}"), "").0, 200);
    let peers = [&holder, &other, &first, &second];
    let before = peers.map(|peer| facts(&server, peer));

    server.kill();
    server.start_again();
    assert_eq!(peers.map(|peer| facts(&server, peer)), before);
    let line = server.log.lines().find(|line| line.contains("state recovered")).unwrap();
    for part in ["INFO", "file=throttle.redb", "peers=4", "locks=2", "waiters=2", "retired=0"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(server.metric("throttle_store_recovered_peers"), Some(4.0));
    assert_eq!(server.request("GET", &format!("/peers/{removed}"), "").0, 400);
    // The same lock under the same token.
    assert_eq!(server.lock(&holder, "A"), (200, lock.clone()));
    // A request that was late before is late now.
    let late = server.request("PUT", &format!("/peers/{other}/B?sequence=4"), "1");
    assert_eq!(late.0, 409, "{}", late.1);

    let newcomer = server.new_peer();
    assert_eq!(server.lock(&newcomer, "A").0, 202);
    // The waiters ask again, the second one before the first.
    let second_again = wait_for_lock(&server, &second, "A");
    let first_again = wait_for_lock(&server, &first, "A");
    let release = |peer: &str| server.request("DELETE", &format!("/peers/{peer}/A"), "").0;
    assert_eq!(release(&holder), 200);
    let (status, granted) = first_again.answer();
    assert_eq!(status, 200, "{granted}");
    let token = |lock: &Value| lock["fencing_token"].as_u64().unwrap();
    let granted: Value = serde_json::from_str(&granted).unwrap();
    assert!(token(&granted) > token(&lock), "{granted} after {lock}");
    assert_eq!(release(&first), 200);
    assert_eq!(second_again.answer().0, 200);
    assert_eq!(server.lock(&newcomer, "A").0, 202);
}

#[test]
fn the_store_has_metrics_which_a_server_without_one_lacks() {
    let server = Server::start(CONFIG);
    assert_eq!(server.lock(&server.new_peer(), "A").0, 200);
    for name in [
        "throttle_store_batch_seconds_count",
        "throttle_store_batch_records_sum",
        "throttle_store_bytes",
        "throttle_store_last_recovery_timestamp_seconds",
    ] {
        assert!(server.metric(name).is_some_and(|value| value > 0.0), "{name}");
    }
    assert_eq!(server.metric("throttle_store_failures_total"), Some(0.0));
    assert_eq!(server.metric("throttle_store_recovery_seconds"), Some(0.0));
    let server = Server::start("[semaphores]\nA = 1\n");
    assert!(!server.request("GET", "/metrics", "").1.contains("throttle_store"));
}

/// D6: the time in which there was no server does not count.
#[cfg(unix)]
#[test]
fn no_lease_ends_while_there_is_no_server() {
    let mut server = Server::start(CONFIG);
    let (_, holder) = server.request("POST", "/new_peer", r#"{"expires_in":"2s"}"#);
    assert_eq!(server.lock(&holder, "A").0, 200);
    server.kill();
    assert!(std::process::Command::new("sleep").arg("2.2").status().unwrap().success());
    server.start_again();
    assert_eq!(server.json("/semaphores/A")["held"], 1);
    // Nobody renews it any more.
    while server.json("/semaphores/A")["held"] != 0 {}
}

/// D9
#[test]
fn a_semaphore_that_the_new_configuration_lacks_stays_with_its_holders() {
    let mut server = Server::start(CONFIG);
    let holder = server.new_peer();
    assert_eq!(server.lock(&holder, "A").0, 200);
    server.kill();
    server.configure("[store]\n[semaphores]\nB = 3\n");
    server.start_again();
    let line = server.log.lines().find(|line| line.contains("retired=1")).unwrap();
    assert!(line.contains("state recovered"), "{line}");
    let warning = server.log.lines().find(|line| line.contains("WARN")).unwrap();
    assert!(warning.contains(r#"names=["A"]"#), "{warning}");
    assert_eq!(server.lock(&holder, "A").0, 200);
    assert_eq!(server.lock(&server.new_peer(), "A").0, 400);
    assert_eq!(server.request("DELETE", &format!("/peers/{holder}/A"), "").0, 200);
    assert_eq!(server.request("GET", "/semaphores/A", "").0, 400);
}

/// A regular stop, which takes no longer than without a store.
#[cfg(unix)]
#[test]
fn a_stop_closes_the_store_and_keeps_everything() {
    let mut server = Server::start(CONFIG);
    let holder = server.new_peer();
    assert_eq!(server.lock(&holder, "A").0, 200);
    let waiter = server.wait_for_lock("A");
    while server.waiters("A") < 1 {}
    let before = facts(&server, &holder);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log);
    assert_eq!(waiter.answer().0, 202);
    server.start_again();
    assert_eq!(facts(&server, &holder), before);
    assert_eq!(server.waiters("A"), 1);
}

/// Whatever the first start has written when it is killed.
#[test]
fn a_kill_during_the_first_start_leaves_nothing_that_hinders_the_next() {
    use crate::support::{directory, throttle};

    let mut home = directory(CONFIG);
    for line in [None, Some("starting"), Some("no state to recover"), Some("listening")] {
        let command = throttle(home.path());
        let mut server = Server::spawn_only(home, command);
        if let Some(line) = line {
            server.wait_for(line);
        }
        server.kill();
        home = server.into_directory();
    }
    let command = throttle(home.path());
    let server = Server::spawn(home, command);
    assert_eq!(server.lock(&server.new_peer(), "A").0, 200);
}

/// Heartbeats that wait in the sockets of a stopped server are in time, and its batches are written later.
#[cfg(unix)]
#[test]
fn a_server_that_stood_still_under_load_has_lost_nothing() {
    let mut server = Server::start("[store]\n[semaphores]\nA = 1000\n");
    let peers = (0..40).map(|_| server.new_peer()).collect::<Vec<_>>();
    let lock =
        |peer: &String| Request::send(server.address, "PUT", &format!("/peers/{peer}/A"), "1");
    let (before, during) = peers.split_at(20);
    let mut requests = before.iter().map(lock).collect::<Vec<_>>();
    server.signal("STOP");
    requests.extend(during.iter().map(lock));
    server.continue_after("1.2");
    for request in requests {
        assert_eq!(request.answer().0, 200);
    }
    let tokens = |server: &Server| {
        let peers = peers.iter().map(|peer| facts(server, peer)["held"].clone());
        peers.collect::<Vec<_>>()
    };
    let before = tokens(&server);
    server.kill();
    server.start_again();
    assert_eq!(tokens(&server), before);
    assert_eq!(server.json("/semaphores/A")["held"], 40);
}
