//! `throttle store`: summaries, exports, imports and backups.

use std::{fs, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Server, directory, run, text, throttle};

const CONFIG: &str = "[store]\n[semaphores]\nA = 1\nB = 3\n";

/// A server with two peers that hold locks, and a third one that waits.
fn busy() -> (Server, [String; 3]) {
    let server = Server::start(CONFIG);
    let peers = [server.new_peer(), server.new_peer(), server.new_peer()];
    assert_eq!(server.lock(&peers[0], "A").0, 200);
    assert_eq!(server.lock(&peers[1], "B").0, 200);
    assert_eq!(server.lock(&peers[2], "A").0, 202);
    (server, peers)
}

/// The standard output of a command that succeeds.
fn output(directory: &TempDir, arguments: &[&str]) -> String {
    let output = run(directory.path(), arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The error of a command that fails.
fn error(directory: &TempDir, arguments: &[&str]) -> String {
    let output = run(directory.path(), arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn an_export_of_a_killed_server_makes_a_store_that_another_server_continues_with() {
    let (mut server, [holder, _, waiter]) = busy();
    let lock = server.lock(&holder, "A");
    server.kill();
    let before = fs::read(server.directory.path().join("throttle.redb")).unwrap();
    let lines = output(&server.directory, &["store", "export", "throttle.redb"]);
    for line in lines.lines() {
        serde_json::from_str::<Value>(line).expect(line);
    }
    let verified = output(&server.directory, &["store", "verify", "throttle.redb"]);
    assert!(verified.contains("semaphores 2, peers 3"), "{verified}");
    let after = fs::read(server.directory.path().join("throttle.redb")).unwrap();
    assert!(before == after, "a tool has changed the file");

    let home = directory(CONFIG);
    fs::write(home.path().join("lines"), lines).unwrap();
    let import = ["store", "import", "lines", "throttle.redb"];
    assert!(output(&home, &import).contains("peers 3"));
    assert!(error(&home, &import).contains("throttle.redb"), "it exists");
    let command = throttle(home.path());
    let server = Server::spawn(home, command);
    assert_eq!(server.lock(&holder, "A"), lock);
    assert_eq!(server.waiters("A"), 1);
    assert_eq!(server.request("DELETE", &format!("/peers/{holder}/A"), "").0, 200);
    assert_eq!(server.lock(&waiter, "A").0, 200);
}

/// The way from a state file to a store.
#[cfg(unix)]
#[test]
fn a_store_can_be_made_out_of_a_state_file() {
    let mut server = Server::start("[restart]\nstate_file = 'it'\n[semaphores]\nA = 1\n");
    let holder = server.new_peer();
    let lock = server.lock(&holder, "A");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let summary = output(&server.directory, &["store", "inspect", "it"]);
    assert!(summary.contains("\"A\": 1 of 1 held"), "{summary}");
    output(&server.directory, &["store", "verify", "it"]);
    output(&server.directory, &["store", "import", "it", "throttle.redb"]);
    server.configure(CONFIG);
    server.start_again();
    assert_eq!(server.lock(&holder, "A"), lock);
}

/// D5
#[test]
fn lines_of_a_newer_format_or_without_their_end_are_refused() {
    let (mut server, _) = busy();
    server.kill();
    let lines = output(&server.directory, &["store", "export", "throttle.redb"]);
    let newer = lines.replacen("\"format\":1", "\"format\":2", 1);
    assert_ne!(newer, lines);
    let (without_end, _) = lines.trim_end().rsplit_once('\n').unwrap();
    for (text, reason) in [(newer.as_str(), "format 2"), (without_end, "the export"), ("", "")] {
        fs::write(server.directory.path().join("lines"), text).unwrap();
        let refused = error(&server.directory, &["store", "import", "lines", "new.redb"]);
        assert!(refused.contains(reason), "{refused}");
        assert!(!server.directory.path().join("new.redb").exists());
    }
}

/// D5: each record can be read, but they contradict each other.
#[test]
fn records_of_no_possible_state_are_refused_by_an_import_and_by_a_server_with_the_name_of_the_file()
{
    let (mut server, _) = busy();
    server.kill();
    let lines = output(&server.directory, &["store", "export", "throttle.redb"]);
    let (lines, _) = lines.rsplit_once("{\"crc32\"").unwrap();
    // The waiter for A now waits for a semaphore without a record.
    let edited =
        lines.replace("\"pending\":{\"semaphore\":\"A\"", "\"pending\":{\"semaphore\":\"X\"");
    assert_ne!(edited, lines);

    let home = directory("[restart]\nstate_file = 'it.state'\n[semaphores]\nA = 1\nB = 3\n");
    let whole = format!("{edited}{{\"crc32\":{}}}\n", crc32(edited.as_bytes()));
    fs::write(home.path().join("it.state"), &whole).unwrap();
    let refused = error(&home, &["store", "import", "it.state", "new.redb"]);
    assert!(refused.contains("no server can be in this state: peer "), "{refused}");
    assert!(refused.ends_with("no store was made\n"), "{refused}");
    assert!(!home.path().join("new.redb").exists());
    let refused = error(&home, &["--port", "0"]);
    assert!(refused.contains("it.state: the records are damaged: peer "), "{refused}");
    assert!(refused.contains("Keep a copy"), "{refused}");
    assert_eq!(fs::read_to_string(home.path().join("it.state")).unwrap(), whole);
}

/// The checksum of zip, PNG and state files.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    })
}

#[test]
fn a_summary_is_for_people() {
    let (mut server, _) = busy();
    server.kill();
    let summary = output(&server.directory, &["store", "inspect", "throttle.redb"]);
    for part in ["peers: 3\n", "\"A\": 1 of 1 held", "\"B\": 1 of 3 held", "waiters: 1, longest"] {
        assert!(summary.contains(part), "{part} in {summary}");
    }
}

#[test]
fn a_backup_of_a_running_server_is_an_export_of_one_instant() {
    let (mut server, [holder, ..]) = busy();
    let lock = server.lock(&holder, "A");
    let url = format!("http://{}", server.address);
    let backup = ["store", "backup", "--url", &url, "backup.jsonl"];
    assert!(output(&server.directory, &backup).contains("backup.jsonl is written: "));
    server.new_peer();
    let lines = fs::read_to_string(server.directory.path().join("backup.jsonl")).unwrap();
    server.kill();

    let home = directory(CONFIG);
    let mut import = throttle(home.path());
    import.args(["store", "import", "-", "throttle.redb"]).stdin(Stdio::piped());
    let mut import = import.stdout(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut import.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let command = throttle(home.path());
    let server = Server::spawn(home, command);
    assert_eq!(server.lock(&holder, "A"), lock);
    assert_eq!(server.metric("throttle_store_recovered_peers"), Some(3.0));
}

#[test]
fn a_backup_that_fails_leaves_the_earlier_one() {
    let server = Server::start("[semaphores]\nA = 1\n");
    let file = server.directory.path().join("backup.jsonl");
    fs::write(&file, "the earlier one").unwrap();
    let url = format!("http://{}", server.address);
    let backup = ["store", "backup", "--url", &url, "backup.jsonl"];
    let no_store = error(&server.directory, &backup);
    assert!(no_store.contains("404") && no_store.contains("with a store?"), "{no_store}");
    let nobody = ["store", "backup", "--url", "http://127.0.0.1:9", "backup.jsonl"];
    assert!(error(&server.directory, &nobody).starts_with("error: no backup at 127.0.0.1:9: "));
    assert_eq!(fs::read_to_string(file).unwrap(), "the earlier one");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (server, _) = busy();
    for command in ["inspect", "export", "verify"] {
        let missing = error(&server.directory, &["store", command, "missing.redb"]);
        assert!(missing.contains("missing.redb"), "{missing}");
        let other = error(&server.directory, &["store", command, "throttle.toml"]);
        assert!(other.contains("throttle.toml"), "{other}");
        let running = error(&server.directory, &["store", command, "throttle.redb"]);
        assert!(running.contains("throttle.redb"), "{running}");
    }
    let import = error(&server.directory, &["store", "import", "throttle.toml", "new.redb"]);
    assert!(import.starts_with("error: "), "{import}");
    assert!(!server.directory.path().join("new.redb").exists());
}
