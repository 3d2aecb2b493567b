//! The command and all that it started, when they are to end. Whether they are alive is known on Linux.

use std::time::{Duration, Instant};

use crate::support::{
    TestServer, end, is_alive, process, signal, start, started_by, until, with_signals,
};

/// A shell that tells its number and that of a child in the background, and waits.
const FAMILY: &str = "sleep 60 & echo $! > child; echo $$ > shell; wait";

/// The same, but nothing short of KILL ends it.
const STUBBORN: &str = "trap '' TERM INT HUP; sleep 60 & echo $! > child; echo $$ > shell; \
                        while true; do sleep 60; done";

#[test]
fn signals_reach_the_command_and_all_that_it_started() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let server = TestServer::new();
        // Whoever runs the tests in the background has them ignore INT.
        let mut program = start(&mut with_signals("--default-signal", &server.lock(&[], FAMILY)));
        let family = [process(&server.file("child")), process(&server.file("shell"))];
        signal(name, program.id());
        assert_eq!(end(&mut program), code, "{name}");
        // A shell lets what it starts in the background ignore INT.
        if name != "INT" {
            until(|| !family.iter().any(|&process| is_alive(process)));
        }
        let remainder = server.call(|it| async move { it.remainder("A").await.unwrap() });
        assert_eq!(remainder, 1);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn when_the_server_dies_the_command_is_dead_before_the_lease_ends_whatever_it_ignores() {
    let server = TestServer::new();
    let mut program = start(&mut server.lock(&["--lease", "3s", "--grace", "500ms"], STUBBORN));
    let family = [process(&server.file("child")), process(&server.file("shell"))];
    let files = server.shut_down();
    let death = Instant::now();
    until(|| !family.iter().any(|&process| is_alive(process)));
    assert!(death.elapsed() < Duration::from_secs(3), "others can have it now");
    assert_eq!(end(&mut program), 76);
    drop(files);
}

#[test]
fn when_an_operator_takes_the_lock_away_the_command_ends() {
    let server = TestServer::new();
    let mut program = start(&mut server.lock(&["--lease", "2s", "--grace", "100ms"], STUBBORN));
    let family = [process(&server.file("child")), process(&server.file("shell"))];
    let peer = server.call(|it| async move { it.peers().await.unwrap()[0].id });
    // The server has to have run for longer than since it last heard of the peer.
    until(|| {
        let left = server.call(|it| async move { it.peers().await.unwrap()[0].time_left });
        left.as_millis() < 1_900
    });
    assert!(server.call(|it| async move { it.remove_peer(peer).await.unwrap() }));
    assert_eq!(end(&mut program), 76);
    until(|| !family.iter().any(|&process| is_alive(process)));
    assert_eq!(server.call(|it| async move { it.peers().await.unwrap().len() }), 0);
}

#[test]
fn the_command_does_not_outlive_a_program_that_is_killed() {
    let server = TestServer::new();
    let mut program = start(&mut server.lock(&[], STUBBORN));
    let shell = process(&server.file("shell"));
    let child = process(&server.file("child"));
    program.kill().unwrap();
    program.wait().unwrap();
    until(|| !is_alive(shell));
    // What the command itself had started is out of reach.
    signal("KILL", child);
}

/// An interactive shell does so with its jobs, and `throttlectl` with its command.
#[test]
fn what_a_command_started_outside_of_its_process_group_ends_with_a_lost_lock() {
    let server = TestServer::new();
    let script = format!("setsid -f sh -c \"{STUBBORN}\" & sleep 60");
    let mut program = start(
        &mut server.lock(&["--lease", "2s", "--grace", "100ms"], &script.replace('$', "\\$")),
    );
    let family = [process(&server.file("child")), process(&server.file("shell"))];
    let files = server.shut_down();
    assert_eq!(end(&mut program), 76);
    assert!(!family.iter().any(|&process| is_alive(process)));
    drop(files);
}

#[test]
fn a_lock_within_a_lost_lock_ends_with_all_that_runs_under_it() {
    let server = TestServer::new();
    let inner = [env!("CARGO_BIN_EXE_throttlectl"), "lock", "A", "--", "sh", "-c", STUBBORN];
    let outer = ["lock", "B", "--lease", "2s", "--grace", "100ms", "--"];
    let mut program = start(&mut server.throttlectl(&[&outer[..], &inner].concat()));
    let family = [process(&server.file("child")), process(&server.file("shell"))];
    let files = server.shut_down();
    assert_eq!(end(&mut program), 76);
    assert!(!family.iter().any(|&process| is_alive(process)));
    drop(files);
}

/// As with `sh -c 'something & exec throttlectl …'`.
#[test]
fn what_was_there_before_the_command_does_not_end_with_the_lock() {
    let server = TestServer::new();
    let lock = server.lock(&["--lease", "2s", "--grace", "100ms"], "echo in > in; sleep 60");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "sleep 60 & echo $! > other; exec \"$0\" \"$@\""]).arg(lock.get_program());
    let mut program = start(&mut started_by(shell, &lock));
    let other = process(&server.file("other"));
    until(|| server.file("in").exists());
    let files = server.shut_down();
    assert_eq!(end(&mut program), 76);
    assert!(is_alive(other));
    signal("KILL", other);
    drop(files);
}
