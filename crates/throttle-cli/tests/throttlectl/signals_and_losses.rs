//! Signals, and servers that die.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    TestServer, end, is_alive, line, process, run, signal, start, started_by, state, throttlectl,
    until, with_signals,
};

#[test]
fn a_command_may_answer_to_a_signal_as_it_likes() {
    let server = TestServer::new();
    let script =
        "trap 'echo told > told; exit 3' USR1; echo in > in; while true; do sleep 0.01; done";
    let mut program = start(&mut server.lock(&[], script));
    line(&server.file("in"));
    signal("USR1", program.id());
    assert_eq!(end(&mut program), 3);
    assert_eq!(line(&server.file("told")), "told");
}

#[test]
fn a_signal_ends_the_wait_and_leaves_the_queue() {
    let server = TestServer::new();
    let mut holder = start(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    line(&server.file("in"));
    let mut waiter = start(&mut server.lock(&[], "echo never > never"));
    server.until_waiters(1);
    signal("TERM", waiter.id());
    assert_eq!(end(&mut waiter), 143);
    server.until_waiters(0);
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
    assert!(!server.file("never").exists());
}

#[test]
fn a_command_whose_lock_is_in_danger_is_told_to_end_in_good_order() {
    let server = TestServer::new();
    let script =
        "trap 'echo told > told; exit 0' TERM; echo in > in; while true; do sleep 0.01; done";
    let mut program = start(&mut server.lock(&["--lease", "3s", "--grace", "1s"], script));
    line(&server.file("in"));
    let told = server.file("told");
    let files = server.shut_down();
    assert_eq!(end(&mut program), 76, "it has not done all it would have");
    assert_eq!(fs::read_to_string(told).unwrap(), "told\n");
    drop(files);
}

/// As `nohup` starts it, and as a script starts what it runs in the background.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for name in ["HUP", "INT", "QUIT"] {
        let ignoring = format!("--ignore-signal={name}");
        let server = TestServer::new();
        let script = "echo in > in; while [ ! -e go ]; do sleep 0.01; done; exit 5";
        let mut program = start(&mut with_signals(&ignoring, &server.lock(&[], script)));
        line(&server.file("in"));
        signal(name, program.id());
        // Signals are heard in the order in which they come.
        signal("USR1", program.id());
        assert_eq!(end(&mut program), 138, "{name}: USR1 alone ended the command");

        let mut holder = start(&mut server.lock(&[], "echo in > in2; exec sleep 60"));
        line(&server.file("in2"));
        let mut waiter = start(&mut with_signals(&ignoring, &server.lock(&[], "exit 5")));
        server.until_waiters(1);
        signal(name, waiter.id());
        signal("TERM", holder.id());
        assert_eq!(end(&mut holder), 143);
        assert_eq!(end(&mut waiter), 5, "{name}");
    }
}

#[test]
fn the_status_of_the_command_is_known_although_the_parent_ignores_the_ends_of_children() {
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
fn a_program_whose_file_is_replaced_while_it_waits_runs_the_command_all_the_same() {
    let server = TestServer::new();
    let mut holder = start(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    line(&server.file("in"));
    let copy = server.file("throttlectl");
    fs::copy(env!("CARGO_BIN_EXE_throttlectl"), &copy).unwrap();
    let mut waiter = start(&mut started_by(Command::new(&copy), &server.lock(&[], "exit 5")));
    server.until_waiters(1);
    fs::remove_file(&copy).unwrap();
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
    assert_eq!(end(&mut waiter), 5);
}

/// A pipe that is full and not read lets nobody write, for ever.
#[test]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn a_command_ends_with_its_lock_although_nobody_reads_the_messages() {
    let server = TestServer::new();
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut stuffing = writer.try_clone().unwrap();
    let script = "echo $$ > in; trap '' TERM; while :; do sleep 1; done";
    let mut command = server.lock(&["--lease", "2s", "--grace", "100ms"], script);
    let mut program = command.stderr(writer).stdout(Stdio::null()).spawn().unwrap();
    drop(command);
    line(&server.file("in"));
    thread::spawn(move || while stuffing.write(&[0; 1024]).is_ok() {});
    let files = server.shut_down();
    let death = Instant::now();
    assert_eq!(end(&mut program), 76);
    assert!(death.elapsed() < Duration::from_secs(3));
    drop(files);
}

/// What holds up a command that was told to end holds up nobody who says so again.
#[test]
#[expect(clippy::disallowed_methods, reason = "a grace is real time")]
fn signals_are_passed_on_during_the_grace_and_a_second_one_cuts_it_short() {
    let server = TestServer::new();
    let script = "trap 'echo x >> told' TERM; trap 'echo usr1 > usr1' USR1; echo $$ > in; \
                  while :; do sleep 0.01; done";
    let mut program = start(&mut server.lock(&["--lease", "5s", "--grace", "2500ms"], script));
    let shell = process(&server.file("in"));
    let peer = server.call(|it| async move { it.peers().await.unwrap()[0].id });
    // The server has to have run for longer than since it last heard of the peer.
    until(|| {
        let left = server.call(|it| async move { it.peers().await.unwrap()[0].time_left });
        left.as_millis() < 4_900
    });
    server.call(|it| async move { it.remove_peer(peer).await.unwrap() });
    let told = |times: usize| {
        until(|| fs::read(server.file("told")).unwrap_or_default().len() == 2 * times)
    };
    told(1);
    let begin = Instant::now();
    signal("USR1", program.id());
    line(&server.file("usr1"));
    signal("TERM", program.id());
    told(2);
    signal("TERM", program.id());
    assert_eq!(end(&mut program), 76);
    assert!(begin.elapsed() < Duration::from_millis(2_400), "the grace was not over");
    assert!(!is_alive(shell));
}

/// As the first process of a container inherits those whose parents are gone.
#[test]
fn processes_that_it_did_not_start_are_collected_as_well() {
    let server = TestServer::new();
    let lock = server.lock(&[], "while [ -e /proc/$OTHER ]; do sleep 0.01; done; exit 5");
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 0.1 & export OTHER=$!; exec \"$0\" \"$@\""]).arg(lock.get_program());
    assert_eq!(end(&mut start(&mut started_by(shell, &lock))), 5);
}

#[test]
fn the_status_of_the_command_is_passed_through_although_the_release_gets_no_answer() {
    let server = TestServer::new();
    let script = "echo in > in; while [ ! -e go ]; do sleep 0.01; done; exit 5";
    let mut program = start(&mut server.lock(&["--lease", "20s"], script));
    line(&server.file("in"));
    let files = server.shut_down();
    fs::write(files.path().join("go"), "").unwrap();
    assert_eq!(end(&mut program), 5);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody waits in real time")]
fn whoever_ends_the_program_does_not_wait_for_a_server_that_is_away() {
    let server = TestServer::new();
    let script = "echo $$ > in; while [ ! -e go ]; do sleep 0.01; done; exit 5";
    let mut program = start(&mut server.lock(&["--lease", "20s"], script));
    let shell = process(&server.file("in"));
    let files = server.shut_down();
    fs::write(files.path().join("go"), "").unwrap();
    until(|| state(shell).is_none());
    let begin = Instant::now();
    signal("INT", program.id());
    assert_eq!(end(&mut program), 5);
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

#[test]
fn a_lock_that_was_lost_before_the_command_ended_is_not_reported_as_success() {
    let server = TestServer::new();
    // The server has to have run for longer than since it last heard of the peer.
    let script = "sleep 0.1; $0 remove-peer $THROTTLE_PEER";
    let mut program = server.throttlectl(&["lock", "A", "--", "sh", "-c", script]);
    let (code, _, stderr) = run(program.arg(env!("CARGO_BIN_EXE_throttlectl")));
    assert_eq!(code, 76, "{stderr}");
    assert!(stderr.contains("the lock on \"A\" is lost: somebody removed the peer"), "{stderr}");
}

#[test]
fn a_lock_is_waited_for_also_while_the_server_is_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let url = format!("unix:{}", path.display());
    let mut waiters = [&["A"][..], &["A", "--wait", "1m"], &["A", "B"]].map(|words| {
        let words = [&["lock"], words, &["--", "sh", "-c", "exit 5"]].concat();
        start(&mut throttlectl(&url, &words))
    });
    // The first attempts fail for certain if another one has failed since.
    assert_eq!(run(&mut throttlectl(&url, &["health"])).0, 69);
    assert!(waiters.iter_mut().all(|it| it.try_wait().unwrap().is_none()));
    let _server = TestServer::on_unix_socket(&path);
    for waiter in &mut waiters {
        assert_eq!(end(waiter), 5);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody waits in real time")]
fn the_time_to_wait_is_kept_whether_there_is_a_server_or_not() {
    let server = TestServer::new();
    let mut holder = start(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    line(&server.file("in"));
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
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
}
