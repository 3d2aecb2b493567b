//! How the command and all processes that it started end. For Linux, where `/proc` shows whether a process is
//! alive.

use std::time::{Duration, Instant};

use crate::support::{
    TestServer, exit_status, is_alive, process_id, send_signal, spawn, started_by, wait_until,
    with_signals,
};

/// A shell that writes its process id and that of a child in the background, and waits.
const FAMILY: &str = "sleep 60 & echo $! > child; echo $$ > shell; wait";

/// The same, but only KILL ends it.
const STUBBORN: &str = "trap '' TERM INT HUP; sleep 60 & echo $! > child; echo $$ > shell; \
                        while true; do sleep 60; done";

#[test]
fn signals_reach_the_command_and_all_that_it_started() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let server = TestServer::new();
        // Tests that run in the background ignore INT otherwise.
        let mut program = spawn(&mut with_signals("--default-signal", &server.lock(&[], FAMILY)));
        let family = [process_id(&server.file("child")), process_id(&server.file("shell"))];
        send_signal(name, program.id());
        assert_eq!(exit_status(&mut program), code, "{name}");
        // A shell has its background jobs ignore INT.
        if name != "INT" {
            wait_until(|| !family.iter().any(|&process| is_alive(process)));
        }
        let remainder = server.call(|it| async move { it.remainder("A").await.unwrap() });
        assert_eq!(remainder, 1);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn when_the_server_dies_the_command_is_dead_before_the_lease_ends_even_if_it_ignores_signals() {
    let server = TestServer::new();
    let mut program = spawn(&mut server.lock(&["--lease", "3s", "--grace", "500ms"], STUBBORN));
    let family = [process_id(&server.file("child")), process_id(&server.file("shell"))];
    let files = server.shut_down();
    let death = Instant::now();
    wait_until(|| !family.iter().any(|&process| is_alive(process)));
    assert!(death.elapsed() < Duration::from_secs(3), "others can hold the lock now");
    assert_eq!(exit_status(&mut program), 76);
    drop(files);
}

#[test]
fn when_an_operator_removes_the_peer_the_command_ends() {
    let server = TestServer::new();
    let mut program = spawn(&mut server.lock(&["--lease", "2s", "--grace", "100ms"], STUBBORN));
    let family = [process_id(&server.file("child")), process_id(&server.file("shell"))];
    let peer = server.call(|it| async move { it.peers().await.unwrap()[0].id });
    // Wait until the server has run for longer than the time since the peer's last heartbeat.
    wait_until(|| {
        let left = server.call(|it| async move { it.peers().await.unwrap()[0].time_left });
        left.as_millis() < 1_900
    });
    assert!(server.call(|it| async move { it.remove_peer(peer).await.unwrap() }));
    assert_eq!(exit_status(&mut program), 76);
    wait_until(|| !family.iter().any(|&process| is_alive(process)));
    assert_eq!(server.call(|it| async move { it.peers().await.unwrap().len() }), 0);
}

#[test]
fn the_command_does_not_outlive_a_program_that_is_killed() {
    let server = TestServer::new();
    let mut program = spawn(&mut server.lock(&[], STUBBORN));
    let shell = process_id(&server.file("shell"));
    let child = process_id(&server.file("child"));
    program.kill().unwrap();
    program.wait().unwrap();
    wait_until(|| !is_alive(shell));
    // Processes that the command itself started are out of reach.
    send_signal("KILL", child);
}

/// An interactive shell gives its jobs groups of their own, and so does `throttlectl` with its command.
#[test]
fn processes_outside_of_the_group_of_the_command_end_when_the_lock_is_lost() {
    let server = TestServer::new();
    let script = format!("setsid -f sh -c \"{STUBBORN}\" & sleep 60");
    let mut program = spawn(
        &mut server.lock(&["--lease", "2s", "--grace", "100ms"], &script.replace('$', "\\$")),
    );
    let family = [process_id(&server.file("child")), process_id(&server.file("shell"))];
    let files = server.shut_down();
    assert_eq!(exit_status(&mut program), 76);
    assert!(!family.iter().any(|&process| is_alive(process)));
    drop(files);
}

#[test]
fn when_an_outer_lock_is_lost_the_inner_lock_and_its_command_end() {
    let server = TestServer::new();
    let inner = [env!("CARGO_BIN_EXE_throttlectl"), "lock", "A", "--", "sh", "-c", STUBBORN];
    let outer = ["lock", "B", "--lease", "2s", "--grace", "100ms", "--"];
    let mut program = spawn(&mut server.throttlectl(&[&outer[..], &inner].concat()));
    let family = [process_id(&server.file("child")), process_id(&server.file("shell"))];
    let files = server.shut_down();
    assert_eq!(exit_status(&mut program), 76);
    assert!(!family.iter().any(|&process| is_alive(process)));
    drop(files);
}

/// For example with `sh -c 'something & exec throttlectl …'`.
#[test]
fn processes_from_before_the_command_do_not_end_with_the_lock() {
    let server = TestServer::new();
    let lock = server.lock(&["--lease", "2s", "--grace", "100ms"], "echo in > in; sleep 60");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "sleep 60 & echo $! > other; exec \"$0\" \"$@\""]).arg(lock.get_program());
    let mut program = spawn(&mut started_by(shell, &lock));
    let other = process_id(&server.file("other"));
    wait_until(|| server.file("in").exists());
    let files = server.shut_down();
    assert_eq!(exit_status(&mut program), 76);
    assert!(is_alive(other));
    send_signal("KILL", other);
    drop(files);
}
