//! Signals to the program, and locks that are lost because the server is gone.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    TestServer, exit_status, is_alive, process_id, process_state, run, send_signal, spawn,
    started_by, throttlectl, wait_for_line, wait_until, with_signals,
};

#[test]
fn a_command_may_handle_a_signal_itself() {
    let server = TestServer::new();
    let script =
        "trap 'echo trapped > trapped; exit 3' USR1; echo in > in; while true; do sleep 0.01; done";
    let mut program = spawn(&mut server.lock(&[], script));
    wait_for_line(&server.file("in"));
    send_signal("USR1", program.id());
    assert_eq!(exit_status(&mut program), 3);
    assert_eq!(wait_for_line(&server.file("trapped")), "trapped");
}

#[test]
fn a_signal_ends_the_wait_and_leaves_the_queue() {
    let server = TestServer::new();
    let mut holder = spawn(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    wait_for_line(&server.file("in"));
    let mut waiter = spawn(&mut server.lock(&[], "echo never > never"));
    server.until_waiters(1);
    send_signal("TERM", waiter.id());
    assert_eq!(exit_status(&mut waiter), 143);
    server.until_waiters(0);
    send_signal("TERM", holder.id());
    assert_eq!(exit_status(&mut holder), 143);
    assert!(!server.file("never").exists());
}

#[test]
fn a_command_gets_time_to_end_before_its_lock_is_lost() {
    let server = TestServer::new();
    let script =
        "trap 'echo trapped > trapped; exit 0' TERM; echo in > in; while true; do sleep 0.01; done";
    let mut program = spawn(&mut server.lock(&["--lease", "3s", "--grace", "1s"], script));
    wait_for_line(&server.file("in"));
    let trapped = server.file("trapped");
    let files = server.shut_down();
    assert_eq!(exit_status(&mut program), 76, "the command was ended early");
    assert_eq!(fs::read_to_string(trapped).unwrap(), "trapped\n");
    drop(files);
}

/// `nohup` ignores signals for its command, and so does a script for its background jobs.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for name in ["HUP", "INT", "QUIT"] {
        let ignoring = format!("--ignore-signal={name}");
        let server = TestServer::new();
        let script = "echo in > in; while [ ! -e go ]; do sleep 0.01; done; exit 5";
        let mut program = spawn(&mut with_signals(&ignoring, &server.lock(&[], script)));
        wait_for_line(&server.file("in"));
        send_signal(name, program.id());
        // The program receives signals in the order in which they are sent.
        send_signal("USR1", program.id());
        assert_eq!(exit_status(&mut program), 138, "{name}: USR1 alone ended the command");

        let mut holder = spawn(&mut server.lock(&[], "echo in > in2; exec sleep 60"));
        wait_for_line(&server.file("in2"));
        let mut waiter = spawn(&mut with_signals(&ignoring, &server.lock(&[], "exit 5")));
        server.until_waiters(1);
        send_signal(name, waiter.id());
        send_signal("TERM", holder.id());
        assert_eq!(exit_status(&mut holder), 143);
        assert_eq!(exit_status(&mut waiter), 5, "{name}");
    }
}

#[test]
fn the_exit_status_of_the_command_is_known_although_the_parent_ignores_chld() {
    let server = TestServer::new();
    for (script, code) in [("exit 7", 7), ("exit 0", 0)] {
        assert_eq!(
            run(&mut with_signals("--ignore-signal=CHLD", &server.lock(&[], script))).0,
            code
        );
    }
}

/// A package manager replaces the file while the program waits for the lock.
#[test]
fn a_program_whose_file_is_removed_while_it_waits_still_runs_the_command() {
    let server = TestServer::new();
    let mut holder = spawn(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    wait_for_line(&server.file("in"));
    let copy = server.file("throttlectl");
    fs::copy(env!("CARGO_BIN_EXE_throttlectl"), &copy).unwrap();
    let mut waiter = spawn(&mut started_by(Command::new(&copy), &server.lock(&[], "exit 5")));
    server.until_waiters(1);
    fs::remove_file(&copy).unwrap();
    send_signal("TERM", holder.id());
    assert_eq!(exit_status(&mut holder), 143);
    assert_eq!(exit_status(&mut waiter), 5);
}

/// A write to a full pipe that nobody reads blocks for ever.
#[test]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn a_command_ends_when_its_lock_is_lost_although_nobody_reads_the_messages() {
    let server = TestServer::new();
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut stuffing = writer.try_clone().unwrap();
    let script = "echo $$ > in; trap '' TERM; while :; do sleep 1; done";
    let mut command = server.lock(&["--lease", "2s", "--grace", "100ms"], script);
    let mut program = command.stderr(writer).stdout(Stdio::null()).spawn().unwrap();
    drop(command);
    wait_for_line(&server.file("in"));
    thread::spawn(move || while stuffing.write(&[0; 1024]).is_ok() {});
    let files = server.shut_down();
    let death = Instant::now();
    assert_eq!(exit_status(&mut program), 76);
    assert!(death.elapsed() < Duration::from_secs(3));
    drop(files);
}

/// The command runs on after TERM, so only the end of the grace or another signal ends it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a grace is real time")]
fn signals_are_forwarded_during_the_grace_and_a_second_one_cuts_it_short() {
    let server = TestServer::new();
    let script = "trap 'echo x >> trapped' TERM; trap 'echo usr1 > usr1' USR1; echo $$ > in; \
                  while :; do sleep 0.01; done";
    let mut program = spawn(&mut server.lock(&["--lease", "5s", "--grace", "2500ms"], script));
    let shell = process_id(&server.file("in"));
    let peer = server.call(|it| async move { it.peers().await.unwrap()[0].id });
    // Wait until the server has run for longer than the time since the peer's last heartbeat.
    wait_until(|| {
        let left = server.call(|it| async move { it.peers().await.unwrap()[0].time_left });
        left.as_millis() < 4_900
    });
    server.call(|it| async move { it.remove_peer(peer).await.unwrap() });
    let trapped = |times: usize| {
        wait_until(|| fs::read(server.file("trapped")).unwrap_or_default().len() == 2 * times)
    };
    trapped(1);
    let begin = Instant::now();
    send_signal("USR1", program.id());
    wait_for_line(&server.file("usr1"));
    send_signal("TERM", program.id());
    trapped(2);
    send_signal("TERM", program.id());
    assert_eq!(exit_status(&mut program), 76);
    assert!(begin.elapsed() < Duration::from_millis(2_400), "the grace was not over");
    assert!(!is_alive(shell));
}

/// The first process of a container inherits processes whose parents have ended.
#[test]
fn inherited_processes_are_collected_when_they_end() {
    let server = TestServer::new();
    let lock = server.lock(&[], "while [ -e /proc/$OTHER ]; do sleep 0.01; done; exit 5");
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 0.1 & export OTHER=$!; exec \"$0\" \"$@\""]).arg(lock.get_program());
    assert_eq!(exit_status(&mut spawn(&mut started_by(shell, &lock))), 5);
}

#[test]
fn the_exit_status_of_the_command_is_passed_on_although_the_release_gets_no_answer() {
    let server = TestServer::new();
    let script = "echo in > in; while [ ! -e go ]; do sleep 0.01; done; exit 5";
    let mut program = spawn(&mut server.lock(&["--lease", "20s"], script));
    wait_for_line(&server.file("in"));
    let files = server.shut_down();
    fs::write(files.path().join("go"), "").unwrap();
    assert_eq!(exit_status(&mut program), 5);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody waits in real time")]
fn a_signal_ends_the_wait_for_a_server_that_does_not_answer_the_release() {
    let server = TestServer::new();
    let script = "echo $$ > in; while [ ! -e go ]; do sleep 0.01; done; exit 5";
    let mut program = spawn(&mut server.lock(&["--lease", "20s"], script));
    let shell = process_id(&server.file("in"));
    let files = server.shut_down();
    fs::write(files.path().join("go"), "").unwrap();
    wait_until(|| process_state(shell).is_none());
    let begin = Instant::now();
    send_signal("INT", program.id());
    assert_eq!(exit_status(&mut program), 5);
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

#[test]
fn a_lock_that_was_lost_before_the_command_ended_is_not_reported_as_success() {
    let server = TestServer::new();
    // Wait until the server has run for longer than the time since the peer's last heartbeat.
    let script = "sleep 0.1; $0 remove-peer $THROTTLE_PEER";
    let mut program = server.throttlectl(&["lock", "A", "--", "sh", "-c", script]);
    let (code, _, stderr) = run(program.arg(env!("CARGO_BIN_EXE_throttlectl")));
    assert_eq!(code, 76, "{stderr}");
    assert!(stderr.contains("the lock on \"A\" is lost: somebody removed the peer"), "{stderr}");
}

#[test]
fn the_program_waits_for_a_lock_also_before_the_server_has_started() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let url = format!("unix:{}", path.display());
    let mut waiters = [&["A"][..], &["A", "--wait", "1m"], &["A", "B"]].map(|words| {
        let words = [&["lock"], words, &["--", "sh", "-c", "exit 5"]].concat();
        spawn(&mut throttlectl(&url, &words))
    });
    // A later request has failed, so the first attempts of the waiters have failed too.
    assert_eq!(run(&mut throttlectl(&url, &["health"])).0, 69);
    assert!(waiters.iter_mut().all(|it| it.try_wait().unwrap().is_none()));
    let _server = TestServer::on_unix_socket(&path);
    for waiter in &mut waiters {
        assert_eq!(exit_status(waiter), 5);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody waits in real time")]
fn the_time_to_wait_is_kept_with_and_without_a_server() {
    let server = TestServer::new();
    let mut holder = spawn(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    wait_for_line(&server.file("in"));
    let directory = tempfile::tempdir().unwrap();
    let nobody = format!("unix:{}", directory.path().join("nobody").display());
    let (code, _, stderr) =
        run(&mut throttlectl(&nobody, &["lock", "A", "B", "--nonblocking", "--", "true"]));
    assert_eq!(code, 69, "{stderr}");
    assert!(stderr.contains("no lock on \"A\", \"B\": cannot connect to"), "{stderr}");
    for (url, expected) in [(&server.url, 75), (&nobody, 69)] {
        let begin = Instant::now();
        let (code, _, stderr) =
            run(&mut throttlectl(url, &["lock", "A", "--wait", "1500ms", "--", "true"]));
        assert_eq!(code, expected, "{stderr}");
        let waited = begin.elapsed();
        let span = Duration::from_millis(1_490)..Duration::from_millis(2_300);
        assert!(span.contains(&waited), "{url}: {waited:?}");
    }
    send_signal("TERM", holder.id());
    assert_eq!(exit_status(&mut holder), 143);
}
