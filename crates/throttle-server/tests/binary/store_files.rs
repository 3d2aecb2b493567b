//! Files that cannot be used as a store: each is refused with a message that names it, and stays as it is.

use std::{fs, path::PathBuf};

use crate::support::{Server, directory, run, text, throttle};

const CONFIG: &str = "[store]\n[semaphores]\nA = 1\n";

/// The server does not start with this file, and says `reason`. Returns what the file contains then.
fn refuse(content: &[u8], reason: &str) -> Vec<u8> {
    let home = directory(CONFIG);
    let file = home.path().join("throttle.redb");
    fs::write(&file, content).unwrap();
    let output = run(home.path(), &["--port", "0"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let error = error.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains("throttle.redb") && error.contains(reason), "{error}");
    fs::read(&file).unwrap()
}

/// The bytes of a store in which a peer holds A.
fn some_store() -> Vec<u8> {
    let mut server = Server::start(CONFIG);
    assert_eq!(server.lock(&server.new_peer(), "A").0, 200);
    server.kill();
    fs::read(store_of(&server)).unwrap()
}

/// D5
#[test]
fn a_file_that_is_no_store_or_damaged_is_refused() {
    let store = some_store();
    let mut damaged = store.clone();
    damaged[64..8_192].fill(0xA5);
    let other = "[semaphores]\nA = 1\n".as_bytes();
    for (content, reason) in [
        (&b""[..], "it is empty"),
        (other, "is not a store of Throttle"),
        (&store[..100], "it ends too early"),
        (&damaged, "is damaged"),
    ] {
        assert!(refuse(content, reason) == content, "it has changed: {reason}");
    }
    // The engine has begun to repair it when it notices that.
    refuse(&store[..store.len() / 2], "it ends too early");
}

/// D5: each record can be read, but two peers have the same token.
#[test]
fn a_state_in_which_no_server_can_be_is_refused() {
    let home = directory(CONFIG);
    let lines = r#"{"header":{"format":1,"id":7,"made_at_ms":0,"token_floor":9,"written_at_ms":0}}
{"semaphore":{"name":"A","last_token":5,"max":1,"level":0}}
{"peer":{"id":1,"expires_in":"1h","held":[{"semaphore":"A","count":1,"token":5,"since_ms":0}]}}
{"peer":{"id":2,"expires_in":"1h","held":[{"semaphore":"A","count":1,"token":5,"since_ms":0}]}}
{"end":{"semaphores":1,"peers":2,"absent":0}}
"#;
    fs::write(home.path().join("lines"), lines).unwrap();
    let imported = run(home.path(), &["store", "import", "lines", "throttle.redb"]);
    assert_eq!(imported.status.code(), Some(0), "{}", text(&imported.stderr));
    let file = home.path().join("throttle.redb");
    refuse(
        &fs::read(file).unwrap(),
        "the token of another holder of semaphore \"A\": 5. Keep a copy",
    );
}

/// D8
#[test]
fn a_second_server_on_the_same_file_does_not_start() {
    let server = Server::start(CONFIG);
    let peer = server.new_peer();
    let output = run(server.directory.path(), &["--port", "0"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("throttle.redb is in use by another process"), "{error}");
    assert_eq!(server.lock(&peer, "A").0, 200);
}

/// Its lock lasts until the system has cleaned up after it.
#[test]
fn a_server_waits_a_moment_for_one_that_is_being_killed() {
    let mut first = Server::start(CONFIG);
    let peer = first.new_peer();
    let config = format!("[store]\npath = {:?}\n[semaphores]\nA = 1\n", store_of(&first));
    let home = directory(&config);
    let command = throttle(home.path());
    let mut second = Server::spawn_only(home, command);
    second.wait_for("starting");
    first.kill();
    second.wait_until_it_listens();
    assert_eq!(second.lock(&peer, "A").0, 200);
}

fn store_of(server: &Server) -> PathBuf {
    server.directory.path().join("throttle.redb")
}

#[test]
fn the_directory_of_the_store_must_exist() {
    let home = directory("[store]\npath = 'missing/throttle.redb'\n");
    let output = run(home.path(), &["--port", "0"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("missing/throttle.redb"), "{error}");
    assert!(!home.path().join("missing").exists());
}

#[test]
fn a_directory_is_no_store() {
    let home = directory("[store]\npath = 'state'\n");
    fs::create_dir(home.path().join("state")).unwrap();
    let output = run(home.path(), &["--port", "0"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("the store state"), "{error}");
}
