//! Commands under a lock on Windows: a job instead of a process group, and no signals.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::support::{TestServer, end, line, run, start, throttlectl, until};

/// Writes a line every second until it is killed, from a process that the command has started.
const FAMILY: &str = "cmd /C family.bat";

/// A server with the batch file of the family.
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
fn a_command_runs_under_the_lock_and_says_how_it_ends() {
    let server = server();
    for code in [0, 1, 7, 255] {
        let command = format!("exit {code}");
        let (ended, _, _) =
            run(&mut server.throttlectl(&["lock", "A", "--", "cmd", "/C", &command]));
        assert_eq!(ended, code);
    }
    assert_eq!(remainder(&server), 1);
}

#[test]
fn a_command_learns_what_it_holds() {
    let server = server();
    let echo = "echo %THROTTLE_SEMAPHORE% %THROTTLE_PEER% %THROTTLE_FENCING_TOKEN%";
    let (code, printed, _) = run(&mut server.throttlectl(&["lock", "A", "--", "cmd", "/C", echo]));
    let words: Vec<_> = printed.split_whitespace().collect();
    assert_eq!((code, words[0], words.len()), (0, "A", 3));
    assert!(words[1..].iter().all(|number| number.parse::<u64>().is_ok()), "{printed}");
}

#[test]
fn what_cannot_be_run_or_had_has_an_exit_code_of_its_own() {
    let server = server();
    let (code, _, said) = run(&mut server.throttlectl(&["lock", "A", "--", "no-such-program"]));
    assert_eq!(code, 127, "{said}");
    let mut holder = start(&mut server.throttlectl(&["lock", "A", "--", "cmd", "/C", FAMILY]));
    line(&server.file("in"));
    let (code, _, said) =
        run(&mut server.throttlectl(&["lock", "A", "--nonblocking", "--", "cmd", "/C", "exit 0"]));
    assert_eq!(code, 75, "{said}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let (code, _, said) =
        run(&mut throttlectl("http://127.0.0.1:9", &["lock", "A", "--wait", "1ms", "--", "cmd"]));
    assert_eq!(code, 69, "{said}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn when_the_server_dies_the_command_and_all_that_it_started_are_dead_before_the_lease_ends() {
    let server = server();
    let arguments = ["lock", "A", "--lease", "3s", "--grace", "500ms", "--", "cmd", "/C", FAMILY];
    let mut program = start(&mut server.throttlectl(&arguments));
    line(&server.file("in"));
    let alive = server.file("alive");
    let files = server.shut_down();
    let death = Instant::now();
    assert_eq!(end(&mut program), 76);
    assert!(death.elapsed() < Duration::from_secs(3), "others can have it now");
    assert_stays(&alive);
    drop(files);
}

#[test]
fn nothing_that_the_command_started_outlives_a_program_that_is_killed() {
    let server = server();
    let mut program = start(&mut server.throttlectl(&["lock", "A", "--", "cmd", "/C", FAMILY]));
    line(&server.file("in"));
    program.kill().unwrap();
    program.wait().unwrap();
    assert_stays(&server.file("alive"));
}

/// The file grows no more: for three seconds, while a family writes every second.
#[expect(clippy::disallowed_methods, reason = "other processes live in real time")]
fn assert_stays(file: &std::path::Path) {
    let start = Instant::now();
    // What ends may not have ended in this instant.
    until(|| start.elapsed() > Duration::from_millis(500));
    let before = fs::read(file).unwrap();
    until(|| start.elapsed() > Duration::from_millis(3_500));
    assert_eq!(fs::read(file).unwrap(), before);
}
