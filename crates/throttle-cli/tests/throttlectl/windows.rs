//! Commands under a lock on Windows: a job instead of a process group, and no signals.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::support::{TestServer, exit_status, run, spawn, throttlectl, wait_for_line, wait_until};

/// Starts a process that writes a line every second until it is killed.
const FAMILY: &str = "cmd /C family.bat";

/// A server whose directory has the batch file of [`FAMILY`].
fn server() -> TestServer {
    let server = TestServer::new();
    let lines = "@echo off\r\necho alive> alive\r\necho in> in\r\n:again\r\n\
                 echo alive>> alive\r\nping -n 2 127.0.0.1 >nul\r\ngoto again\r\n";
    fs::write(server.file("family.bat"), lines).unwrap();
    server
}

fn remainder(server: &TestServer) -> i64 {
    server.call(|it| async move { it.remainder("A").await.unwrap() })
}

#[test]
fn a_command_runs_under_the_lock_and_its_exit_status_is_passed_on() {
    let server = server();
    for code in [0, 1, 7, 255] {
        let command = format!("exit {code}");
        let (status, _, _) =
            run(&mut server.throttlectl(&["lock", "A", "--", "cmd", "/C", &command]));
        assert_eq!(status, code);
    }
    assert_eq!(remainder(&server), 1);
}

#[test]
fn the_environment_of_the_command_describes_its_lock() {
    let server = server();
    let echo = "echo %THROTTLE_SEMAPHORE% %THROTTLE_PEER% %THROTTLE_FENCING_TOKEN%";
    let (code, printed, _) = run(&mut server.throttlectl(&["lock", "A", "--", "cmd", "/C", echo]));
    let words: Vec<_> = printed.split_whitespace().collect();
    assert_eq!((code, words[0], words.len()), (0, "A", 3));
    assert!(words[1..].iter().all(|number| number.parse::<u64>().is_ok()), "{printed}");
}

#[test]
fn a_failure_has_its_own_exit_status() {
    let server = server();
    let (code, _, stderr) = run(&mut server.throttlectl(&["lock", "A", "--", "no-such-program"]));
    assert_eq!(code, 127, "{stderr}");
    let mut holder = spawn(&mut server.throttlectl(&["lock", "A", "--", "cmd", "/C", FAMILY]));
    wait_for_line(&server.file("in"));
    let (code, _, stderr) =
        run(&mut server.throttlectl(&["lock", "A", "--nonblocking", "--", "cmd", "/C", "exit 0"]));
    assert_eq!(code, 75, "{stderr}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let (code, _, stderr) =
        run(&mut throttlectl("http://127.0.0.1:9", &["lock", "A", "--wait", "1ms", "--", "cmd"]));
    assert_eq!(code, 69, "{stderr}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn when_the_server_dies_the_command_and_its_processes_are_dead_before_the_lease_ends() {
    let server = server();
    let arguments = ["lock", "A", "--lease", "3s", "--grace", "500ms", "--", "cmd", "/C", FAMILY];
    let mut program = spawn(&mut server.throttlectl(&arguments));
    wait_for_line(&server.file("in"));
    let alive = server.file("alive");
    let files = server.shut_down();
    let death = Instant::now();
    assert_eq!(exit_status(&mut program), 76);
    assert!(death.elapsed() < Duration::from_secs(3), "others can hold the lock now");
    assert_does_not_grow(&alive);
    drop(files);
}

#[test]
fn no_process_that_the_command_started_outlives_a_program_that_is_killed() {
    let server = server();
    let mut program = spawn(&mut server.throttlectl(&["lock", "A", "--", "cmd", "/C", FAMILY]));
    wait_for_line(&server.file("in"));
    program.kill().unwrap();
    program.wait().unwrap();
    assert_does_not_grow(&server.file("alive"));
}

/// Asserts that a file does not grow for three seconds, in which [`FAMILY`] would write three lines.
#[expect(clippy::disallowed_methods, reason = "other processes run in real time")]
fn assert_does_not_grow(file: &std::path::Path) {
    let start = Instant::now();
    // A killed process may take a moment to end.
    wait_until(|| start.elapsed() > Duration::from_millis(500));
    let before = fs::read(file).unwrap();
    wait_until(|| start.elapsed() > Duration::from_millis(3_500));
    assert_eq!(fs::read(file).unwrap(), before);
}
