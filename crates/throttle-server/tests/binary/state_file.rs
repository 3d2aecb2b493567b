//! Servers that keep their state in a file from a regular stop to the next start.
#![cfg(unix)]

use std::{fs, net::TcpListener, path::PathBuf};

use serde_json::json;

use crate::support::{Server, directory, run, text, throttle};

const CONFIG: &str = "[restart]\nstate_file = 'throttle.state'\n[semaphores]\nA = 1\n";

fn state_file(server: &Server) -> PathBuf {
    server.directory.path().join("throttle.state")
}

/// A server that was stopped while a peer held A and another waited for it, with both peers.
fn stopped() -> (Server, [String; 2]) {
    let mut server = Server::start(CONFIG);
    let peers = [server.new_peer(), server.new_peer()];
    assert_eq!(server.lock(&peers[0], "A").0, 200);
    assert_eq!(server.lock(&peers[1], "A").0, 202);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log);
    assert!(server.log.contains("state written"), "{}", server.log);
    (server, peers)
}

#[test]
fn a_planned_restart_keeps_holders_and_waiters_and_the_file_is_gone() {
    let mut server = Server::start(CONFIG);
    let [holder, waiter] = [server.new_peer(), server.new_peer()];
    let lock = server.lock(&holder, "A");
    assert_eq!(lock.0, 200);
    let waiting = server.request("PUT", &format!("/peers/{waiter}/A"), "1");
    assert_eq!(waiting.0, 202);
    assert!(!state_file(&server).exists());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(state_file(&server).exists());

    server.start_again();
    assert!(server.log.contains("state recovered"), "{}", server.log);
    assert_eq!(server.lock(&holder, "A"), lock);
    assert!(!state_file(&server).exists());
    assert_eq!(server.waiters("A"), 1);
    assert_eq!(server.request("DELETE", &format!("/peers/{holder}/A"), "").0, 200);
    assert_eq!(server.lock(&waiter, "A").0, 200);
    // A crash, for which there is no file.
    server.kill();
    server.start_again();
    assert_eq!(server.json("/semaphores/A")["held"], json!(0));
}

/// Otherwise a start on a port that is taken would cost the state.
#[test]
fn a_start_that_fails_leaves_the_file_for_the_next_one() {
    let (mut server, [holder, _]) = stopped();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(server.directory.path(), &["--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot listen"), "{}", text(&output.stderr));
    assert!(state_file(&server).exists());
    server.start_again();
    assert_eq!(server.lock(&holder, "A").0, 200);
}

/// D5: never half read.
#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let (server, _) = stopped();
    let (file, mut bytes) = (state_file(&server), fs::read(state_file(&server)).unwrap());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for damaged in [&bytes[..], &bytes[..middle], &bytes[..0], b"nonsense"] {
        fs::write(&file, damaged).unwrap();
        let output = run(server.directory.path(), &["--port", "0"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("throttle.state"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), damaged);
    }
}

/// A stop is a bad moment to notice it.
#[test]
fn a_server_that_could_not_write_the_file_does_not_start() {
    let home = directory("[restart]\nstate_file = 'missing/throttle.state'\n");
    let output = run(home.path(), &["--port", "0"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("missing/throttle.state"), "{error}");
}

#[test]
fn what_a_crash_has_left_of_a_file_is_harmless() {
    let home = directory(CONFIG);
    fs::write(home.path().join("throttle.state.tmp"), "half of it").unwrap();
    let command = throttle(home.path());
    let mut server = Server::spawn(home, command);
    let peer = server.new_peer();
    assert_eq!(server.lock(&peer, "A").0, 200);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    server.start_again();
    assert_eq!(server.lock(&peer, "A").0, 200);
}

#[test]
fn a_server_that_cannot_write_the_file_at_its_end_says_so() {
    let mut server = Server::start(CONFIG);
    server.new_peer();
    // A directory of that name cannot be replaced.
    fs::create_dir(state_file(&server)).unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(74), "{}", server.log);
    let error = server.log.lines().find(|line| line.contains("ERROR")).unwrap();
    assert!(error.contains("throttle.state"), "{error}");
}

/// coreutils' `timeout` sends its signal to the process and to its group.
#[test]
fn the_same_signal_twice_at_once_is_one_request_to_stop() {
    let mut server = Server::start(CONFIG);
    for _ in 0..200 {
        server.new_peer();
    }
    server.signals(&["TERM", "TERM"]);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log.contains("stopped at once"), "{}", server.log);
    server.start_again();
    assert_eq!(server.metric("throttle_peers"), Some(200.0));
}

/// A second signal means that the operator does not want to wait, not even for the file.
#[test]
fn a_second_signal_ends_the_server_with_or_without_a_file_but_not_with_half_of_one() {
    let mut server = Server::start(CONFIG);
    for _ in 0..200 {
        server.new_peer();
    }
    server.signals(&["TERM", "INT"]);
    server.wait();
    let is_written = state_file(&server).exists();
    server.start_again();
    assert_eq!(server.metric("throttle_peers"), Some(if is_written { 200.0 } else { 0.0 }));
}

/// Nobody counts on locks whose leases ended long ago, and others may have them by now from another server.
#[test]
fn a_file_that_is_older_than_the_leases_in_it_is_refused() {
    let mut server = Server::start(CONFIG);
    assert_eq!(server.request("POST", "/new_peer", r#"{"expires_in":"800ms"}"#).0, 200);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(std::process::Command::new("sleep").arg("1").status().unwrap().success());
    let output = run(server.directory.path(), &["--port", "0"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("throttle.state"), "{error}");
    fs::remove_file(state_file(&server)).unwrap();
    server.start_again();
}

#[test]
fn a_file_of_a_server_without_peers_is_never_too_old() {
    let mut server = Server::start(CONFIG);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    server.start_again();
    server.new_peer();
    assert!(!state_file(&server).exists());
}
