//! Commands under a lock: acquired, refused, not free in time, released.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::support::{
    TestServer, exit_status, run, send_signal, spawn, throttlectl, wait_for_line, wait_until,
};

#[test]
fn the_exit_status_of_the_command_is_passed_on() {
    let server = TestServer::new();
    for (script, code) in [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137)] {
        assert_eq!(run(&mut server.lock(&[], script)).0, code, "{script}");
    }
    let remainder = server.call(|it| async move { it.remainder("A").await.unwrap() });
    assert_eq!(remainder, 1, "the lock is released");
}

#[test]
fn the_environment_of_the_command_describes_its_lock() {
    let server = TestServer::new();
    let script = "echo $THROTTLE_SEMAPHORE $THROTTLE_PEER $THROTTLE_FENCING_TOKEN";
    let flags = ["lock", "B", "--count", "2", "--label", "job=nightly", "--", "sh", "-c"];
    let show = format!("{script}; {CTL} semaphore B --output json");
    let (code, stdout, _) = run(server.throttlectl(&flags).arg(show));
    assert_eq!(code, 0);
    let (words, json) = stdout.split_once('\n').unwrap();
    let words: Vec<_> = words.split(' ').collect();
    assert_eq!(words[0], "B");
    for part in [
        "\"held\": 2",
        "\"job\": \"nightly\"",
        &format!("\"peer_id\": {}", words[1]),
        &format!("\"fencing_token\": {}", words[2]),
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
}

#[test]
fn a_lock_that_is_not_free_has_its_own_exit_status_and_leaves_no_waiter() {
    let server = TestServer::new();
    let mut holder = spawn(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    wait_for_line(&server.file("in"));
    for flags in [&["--nonblocking"][..], &["--wait", "1s"]] {
        let (code, stdout, stderr) = run(&mut server.lock(flags, "echo never"));
        assert_eq!((code, &*stdout), (75, ""));
        assert!(stderr.contains("\"A\"") && stderr.contains("was not free"), "{stderr}");
    }
    server.until_waiters(0);
    send_signal("TERM", holder.id());
    assert_eq!(exit_status(&mut holder), 143);
}

#[test]
fn waiters_are_served_in_the_order_of_their_arrival() {
    let server = TestServer::new();
    let fifo = server.file("end");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut first = spawn(&mut server.lock(&[], "echo first >> order; read line < end"));
    wait_until(|| server.file("order").exists());
    let mut second = spawn(&mut server.lock(&[], "echo second >> order"));
    server.until_waiters(1);
    let mut third = spawn(&mut server.lock(&[], "echo third >> order"));
    server.until_waiters(2);
    fs::write(&fifo, "go\n").unwrap();
    assert_eq!([&mut first, &mut second, &mut third].map(exit_status), [0, 0, 0]);
    assert_eq!(fs::read_to_string(server.file("order")).unwrap(), "first\nsecond\nthird\n");
}

#[test]
fn a_command_that_cannot_start_reports_the_reason() {
    let server = TestServer::new();
    let lock = |flags: &[&str]| run(server.throttlectl(&["lock"]).args(flags));
    let (code, _, stderr) = lock(&["X", "--", "true"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("no lock on \"X\""), "{stderr}");
    assert!(stderr.contains("refused with 400 unknown_semaphore"), "{stderr}");
    assert_eq!(lock(&["A", "--count", "2", "--", "true"]).0, 78);
    let (code, _, stderr) = lock(&["A", "--", "/no/such/command"]);
    assert_eq!(code, 127);
    assert!(stderr.contains("cannot run /no/such/command"), "{stderr}");
    assert_eq!(lock(&["A", "--", "/"]).0, 126);
    for flags in [
        &["--", "true"][..],
        &["A", "--count", "0", "--", "true"],
        &["A", "--lease", "x", "--", "true"],
    ] {
        assert_eq!(lock(flags).0, 64, "{flags:?}");
    }
    assert_eq!(run(&mut throttlectl("ftp://host", &["lock", "A", "--", "true"])).0, 64);
}

/// `flock`, `consul lock` and `etcdctl lock` accept a command without dashes before it.
#[test]
fn a_command_line_without_dashes_or_a_unit_gets_a_hint() {
    let server = TestServer::new();
    let lock = |flags: &[&str]| run(server.throttlectl(&["lock"]).args(flags));
    for (flags, code, hint) in [
        (&["A", "date"][..], 78, "follows `--`"),
        (&["A", "make", "-j4"], 64, "follows `--`"),
        (&["X", "--", "true"], 78, "`throttlectl semaphores` lists"),
        (&["A", "--wait", "10", "--", "true"], 64, "such as \"5m\""),
        (&["A:0", "--", "true"], 64, "from 1 on"),
    ] {
        let (status, _, stderr) = lock(flags);
        assert_eq!(status, code, "{flags:?}: {stderr}");
        assert!(stderr.contains(hint), "{flags:?}: {stderr}");
    }
    let (code, _, stderr) = run(&mut server.throttlectl(&["semaphore", "X"]));
    assert_eq!(code, 78);
    assert!(stderr.contains("`throttlectl semaphores` lists"), "{stderr}");
}

#[test]
fn the_short_options_are_those_of_flock_and_messages_show_the_time_as_given() {
    let server = TestServer::new();
    let inner = |flags: &str| {
        let script = format!("env -u THROTTLE_PEER throttlectl lock A {flags} -- true");
        let directory = Path::new(env!("CARGO_BIN_EXE_throttlectl")).parent().unwrap();
        let path = format!("{}:{}", directory.display(), env::var("PATH").unwrap());
        run(server.throttlectl(&["lock", "A", "--", "sh", "-c", &script]).env("PATH", path))
    };
    assert_eq!(inner("-n").0, 75);
    let (code, _, stderr) = inner("-w 500ms");
    assert_eq!(code, 75);
    assert!(stderr.ends_with("was not free within 500ms\n"), "{stderr}");
}

#[test]
fn an_unreachable_server_has_its_own_exit_status_and_the_cause_is_reported() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    for words in
        [&["A", "--nonblocking"][..], &["A", "--wait", "300ms"], &["A", "B", "--nonblocking"]]
    {
        let words = [&["lock"], words, &["--", "true"]].concat();
        let (code, _, stderr) = run(&mut throttlectl(&url, &words));
        assert_eq!(code, 69, "{words:?}: {stderr}");
        assert!(stderr.contains("Connection refused"), "{words:?}: {stderr}");
    }
}

/// A server that accepts connections and does not answer. After the wait, the program waits only for the
/// removal of its peer.
#[test]
fn the_cause_is_reported_when_the_wait_is_over_and_before_the_peer_is_removed() {
    use axum::{
        Json, Router,
        routing::{delete, post},
    };

    let answers = Arc::new(Notify::new());
    let is_removed = Arc::new(AtomicBool::new(false));
    let (to_answer, to_remove) = (Arc::clone(&answers), Arc::clone(&is_removed));
    let new_peer = async move || {
        to_answer.notified().await;
        Json(42)
    };
    let remove = async move || {
        to_remove.store(true, Ordering::SeqCst);
        Json("Peer released")
    };
    let server = TestServer::with_routes(|| {
        Router::new().route("/new_peer", post(new_peer)).route("/peers/42", delete(remove))
    });
    let mut command = server.throttlectl(&["lock", "A", "--wait", "50ms", "--", "true"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut message = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut message).unwrap();
    assert!(message.contains("no answer in time"), "{message}");
    // Had the removal been tried before the message, it would have failed by now.
    answers.notify_one();
    assert_eq!(child.wait().unwrap().code(), Some(69));
    assert!(is_removed.load(Ordering::SeqCst), "the peer is removed after the message");
}

/// For example of a proxy that asks for a token, or one that redirects.
#[test]
fn an_answer_that_will_not_change_ends_the_wait() {
    use axum::{Router, http::StatusCode};

    for status in [StatusCode::UNAUTHORIZED, StatusCode::FOUND] {
        let server =
            TestServer::with_routes(|| Router::new().fallback(async move || (status, "no")));
        for names in [&["A"][..], &["A", "B"]] {
            let words = [&["lock"], names, &["--", "true"]].concat();
            let (code, _, stderr) = run(&mut server.throttlectl(&words));
            assert_eq!(code, 69, "{stderr}");
            assert!(stderr.contains(status.as_str()), "{stderr}");
        }
    }
}

/// A server of version 0.5 does not report levels.
#[test]
fn without_levels_from_the_server_locks_are_acquired_in_the_order_of_the_command_line() {
    use axum::http::StatusCode;

    let server = TestServer::with_routes(|| {
        let api = throttle_http::Api::new(crate::support::handle([("A", 1, 0), ("B", 3, 1)]));
        let no_route = async || (StatusCode::NOT_FOUND, "not found");
        axum::Router::new()
            .route("/semaphores", axum::routing::get(no_route))
            .fallback_service(api.routes())
    });
    assert_eq!(run(&mut server.throttlectl(&["lock", "B", "A", "--", "true"])).0, 0);
    let (code, _, stderr) = run(&mut server.throttlectl(&["lock", "A", "B", "--", "true"]));
    assert_eq!(code, 78);
    assert!(stderr.contains("409 lock_hierarchy_violation"), "{stderr}");
}

#[test]
fn the_exit_status_of_a_conflict_can_be_chosen() {
    let server = TestServer::new();
    let mut holder = spawn(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    wait_for_line(&server.file("in"));
    for flags in [["--nonblocking", "-E", "3"], ["--wait=1s", "--conflict-exit-code", "3"]] {
        assert_eq!(run(&mut server.lock(&flags, "echo never")).0, 3);
    }
    let (code, _, _) = run(&mut server.throttlectl(&["lock", "X", "-E", "3", "--", "true"]));
    assert_eq!(code, 78, "a refusal is no conflict");
    send_signal("TERM", holder.id());
    assert_eq!(exit_status(&mut holder), 143);
}

#[test]
fn one_peer_holds_several_semaphores_and_acquires_them_by_level() {
    let server = TestServer::new();
    let show = format!("echo \"$THROTTLE_LOCKS\"; {CTL} peers --output json");
    // The level of A is below that of B, so A comes last, whatever the order of the names.
    let words = ["lock", "A", "B:2", "--", "sh", "-c", &show];
    let (code, stdout, stderr) = run(&mut server.throttlectl(&words));
    assert_eq!(code, 0, "{stderr}");
    let (locks, peers) = stdout.split_once('\n').unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let (locks, peers) = (json(locks), json(peers));
    assert_eq!((&locks[0]["semaphore"], &locks[0]["count"]), (&"A".into(), &1.into()));
    assert_eq!((&locks[1]["semaphore"], &locks[1]["count"]), (&"B".into(), &2.into()));
    assert_eq!(peers.as_array().unwrap().len(), 1);
    assert_eq!(peers[0]["held"].as_array().unwrap().len(), 2);
    for name in ["A", "B"] {
        let free = server.call(|it| async move { it.semaphore(name).await.unwrap().status });
        assert_eq!(free.held, 0, "{name} is released");
    }
}

#[test]
fn semaphores_of_one_level_cannot_be_held_together_and_are_refused_at_once() {
    let server = TestServer::with_semaphores(
        [("A", 1, 0), ("B", 3, 1), ("C", 1, 0)],
        throttle_http::Api::new,
    );
    let (code, _, stderr) = run(&mut server.throttlectl(&["lock", "A", "C", "--", "true"]));
    assert_eq!(code, 78);
    assert!(stderr.contains("lock_hierarchy_violation: \"A\" and \"C\""), "{stderr}");
    let (code, _, stderr) = run(&mut server.throttlectl(&["lock", "A", "X", "--", "true"]));
    assert_eq!(code, 78);
    assert!(stderr.contains("unknown_semaphore"), "{stderr}");
    assert_eq!(run(&mut server.throttlectl(&["lock", "A", "A:2", "--", "true"])).0, 64);
}

#[test]
fn a_lock_within_a_lock_is_refused_if_the_two_could_deadlock() {
    let server = TestServer::with_semaphores(
        [("A", 1, 0), ("B", 3, 1), ("C", 1, 0)],
        throttle_http::Api::new,
    );
    let nested = |outer: &str, inner: &str| {
        run(&mut server.throttlectl(&["lock", outer, "--", CTL, "lock", inner, "--", "true"]))
    };
    assert_eq!(nested("B", "A").0, 0, "from high to low");
    for (outer, inner) in [("A", "B"), ("A", "C"), ("A", "A")] {
        let (code, _, stderr) = nested(outer, inner);
        assert_eq!(code, 78, "{stderr}");
        let expected = format!("lock_hierarchy_violation: {inner:?} is of level");
        assert!(stderr.contains(&expected), "{stderr}");
    }
    // Commands that run in parallel within the outer lock do not depend on each other.
    let both = format!("{CTL} lock A -- true & {CTL} lock C -- true; r=$?; wait $! && exit $r");
    let (code, _, stderr) = run(&mut server.throttlectl(&["lock", "B", "--", "sh", "-c", &both]));
    assert_eq!(code, 0, "{stderr}");
    // An absent peer, or one of another server, holds nothing.
    let mut alone = server.throttlectl(&["lock", "B", "--", "true"]);
    assert_eq!(run(alone.env("THROTTLE_PEER", "5")).0, 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody holds a lock in real time")]
fn a_lock_is_held_for_its_minimum_time_also_if_the_command_ends_sooner() {
    let server = TestServer::new();
    let start = Instant::now();
    let (code, _, _) = run(&mut server.lock(&["--hold-at-least", "300ms"], "exit 7"));
    assert_eq!(code, 7);
    assert!(start.elapsed() >= Duration::from_millis(300));
    // A signal ends it before that.
    let mut holder = spawn(&mut server.lock(&["--hold-at-least", "1h"], "echo x > done"));
    wait_for_line(&server.file("done"));
    let (code, _, _) = run(&mut server.lock(&["--nonblocking"], "true"));
    assert_eq!(code, 75, "it is held");
    send_signal("TERM", holder.id());
    assert!(matches!(exit_status(&mut holder), 0 | 143));
    assert_eq!(run(&mut server.lock(&["--nonblocking"], "true")).0, 0);
}

#[test]
fn without_a_command_the_lock_is_held_until_standard_input_ends() {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        process::Stdio,
    };

    let server = TestServer::new();
    let hold = || {
        let mut command = server.throttlectl(&["lock", "A", "B:2"]);
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        (program, [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()])
    };
    let (mut holder, lines) = hold();
    let held = lines.map(|it| it.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(held[0][2..], ["1", "A"]);
    assert_eq!(held[1][2..], ["2", "B"]);
    let held_by = server.call(|it| async move { it.semaphore("A").await.unwrap().held_by });
    assert_eq!(held_by[0].peer_id.to_string(), held[0][0]);
    assert_eq!(held_by[0].fencing_token.to_string(), held[0][1]);
    holder.stdin.as_mut().unwrap().write_all(b"anything").unwrap();
    assert!(holder.try_wait().unwrap().is_none());
    drop(holder.stdin.take());
    assert_eq!(exit_status(&mut holder), 0);
    let (mut holder, _) = hold();
    send_signal("TERM", holder.id());
    assert_eq!(exit_status(&mut holder), 143);
    let remainder = server.call(|it| async move { it.remainder("A").await.unwrap() });
    assert_eq!(remainder, 1);
    // A listing that cannot be written is a failure.
    let (_, broken) = std::io::pipe().unwrap();
    let mut command = server.throttlectl(&["lock", "A"]);
    let (code, _, stderr) = run(command.stdin(Stdio::piped()).stdout(broken));
    assert_ne!(code, 0, "{stderr}");
}

/// A write to a full pipe that nobody reads blocks for ever.
#[test]
#[cfg(target_os = "linux")]
fn without_a_command_a_signal_ends_the_program_also_while_nobody_reads_the_listing() {
    use std::{io::Write as _, process::Stdio};

    let server = TestServer::new();
    let (_reader, mut writer) = std::io::pipe().unwrap();
    let room = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![0; room]).unwrap();
    let mut command = server.throttlectl(&["lock", "A"]);
    let mut holder = command.stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
    let remainder = || server.call(|it| async move { it.remainder("A").await.unwrap() });
    wait_until(|| remainder() == 0);
    send_signal("TERM", holder.id());
    assert_eq!(exit_status(&mut holder), 143);
    assert_eq!(remainder(), 1);
}

#[test]
fn people_can_see_who_holds_a_lock() {
    let server = TestServer::new();
    let labels = |flags: &[&str]| {
        let show = format!("{CTL} semaphore A --output json");
        let (code, stdout, stderr) = run(&mut server.lock(flags, &show));
        assert_eq!(code, 0, "{stderr}");
        let semaphore: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        semaphore["held_by"][0]["labels"].clone()
    };
    let default = labels(&["--label", "job=nightly"]);
    assert_eq!((&default["command"], &default["job"]), (&"sh".into(), &"nightly".into()));
    assert!(default["host"].is_string() && default["pid"].is_string(), "{default}");
    assert_eq!(labels(&["--label", "command=mine"])["command"], "mine");
    let none = labels(&["--no-default-labels", "--label", "job=nightly"]);
    assert_eq!(none, serde_json::json!({ "job": "nightly" }));
}

const CTL: &str = env!("CARGO_BIN_EXE_throttlectl");

/// `/dev/full` accepts no byte, and a pipe without a reader breaks.
#[test]
#[cfg(target_os = "linux")]
fn the_exit_status_is_as_documented_also_if_the_message_cannot_be_written() {
    let server = TestServer::new();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let broken = || std::io::pipe().unwrap().1;
    for command in [["X", "--", "true"], ["A", "--count", "0"]] {
        let lock = || {
            let mut it = server.throttlectl(&["lock"]);
            it.args(command);
            it
        };
        let expected = if command[0] == "X" { 78 } else { 64 };
        assert_eq!(lock().stderr(full()).status().unwrap().code(), Some(expected));
        assert_eq!(lock().stderr(broken()).status().unwrap().code(), Some(expected));
    }
}
