//! Commands under a lock, when all goes well or nothing begins.

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

use crate::support::{TestServer, end, line, run, signal, start, throttlectl, until};

#[test]
fn the_exit_code_of_the_command_is_passed_through() {
    let server = TestServer::new();
    for (script, code) in [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137)] {
        assert_eq!(run(&mut server.lock(&[], script)).0, code, "{script}");
    }
    let remainder = server.call(|it| async move { it.remainder("A").await.unwrap() });
    assert_eq!(remainder, 1, "and the lock is given back");
}

#[test]
fn the_command_knows_its_lock() {
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
fn a_lock_that_is_not_free_has_an_exit_code_of_its_own_and_leaves_no_waiter() {
    let server = TestServer::new();
    let mut holder = start(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    line(&server.file("in"));
    for flags in [&["--nonblocking"][..], &["--wait", "1s"]] {
        let (code, stdout, stderr) = run(&mut server.lock(flags, "echo never"));
        assert_eq!((code, &*stdout), (75, ""));
        assert!(stderr.contains("\"A\"") && stderr.contains("was not free"), "{stderr}");
    }
    server.until_waiters(0);
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
}

#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let server = TestServer::new();
    let fifo = server.file("end");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut first = start(&mut server.lock(&[], "echo first >> order; read line < end"));
    until(|| server.file("order").exists());
    let mut second = start(&mut server.lock(&[], "echo second >> order"));
    server.until_waiters(1);
    let mut third = start(&mut server.lock(&[], "echo third >> order"));
    server.until_waiters(2);
    fs::write(&fifo, "go\n").unwrap();
    assert_eq!([&mut first, &mut second, &mut third].map(end), [0, 0, 0]);
    assert_eq!(fs::read_to_string(server.file("order")).unwrap(), "first\nsecond\nthird\n");
}

#[test]
fn what_cannot_begin_says_why() {
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

/// `flock`, `consul lock` and `etcdctl lock` take the command without dashes.
#[test]
fn whoever_forgets_the_dashes_or_a_unit_is_told_what_to_write() {
    let server = TestServer::new();
    let lock = |flags: &[&str]| run(server.throttlectl(&["lock"]).args(flags));
    for (flags, code, hint) in [
        (&["A", "date"][..], 78, "behind `--`"),
        (&["A", "make", "-j4"], 64, "behind `--`"),
        (&["X", "--", "true"], 78, "`throttlectl semaphores` lists"),
        (&["A", "--wait", "10", "--", "true"], 64, "30s"),
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
fn the_short_options_are_those_of_flock_and_the_time_is_told_as_it_was_given() {
    let server = TestServer::new();
    let inner = |flags: &str| {
        let script = format!("env -u THROTTLE_PEER throttlectl lock A {flags} -- true");
        let directory = Path::new(env!("CARGO_BIN_EXE_throttlectl")).parent().unwrap();
        let path = format!("{}:{}", directory.display(), env::var("PATH").unwrap());
        run(server.throttlectl(&["lock", "A", "--", "sh", "-c", &script]).env("PATH", path))
    };
    assert_eq!(inner("-n").0, 75);
    let (code, _, stderr) = inner("-w 50ms");
    assert_eq!(code, 75);
    assert!(stderr.ends_with("was not free within 50ms\n"), "{stderr}");
}

#[test]
fn a_server_out_of_reach_has_an_exit_code_of_its_own_and_the_cause_is_told() {
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

/// A server that takes connections and says nothing is not waited for any longer; only the farewell is.
#[test]
fn the_cause_is_told_when_the_time_is_over_and_not_after_the_farewell() {
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
    let mut told = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("no answer in time"), "{told}");
    // A farewell that came before the message would have been in vain by now.
    answers.notify_one();
    assert_eq!(child.wait().unwrap().code(), Some(69));
    assert!(is_removed.load(Ordering::SeqCst), "the farewell comes after that");
}

/// As of a proxy that wants a token, or one that leads elsewhere.
#[test]
fn an_answer_that_does_not_change_ends_the_wait() {
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

/// A server of version 0.5 tells no levels.
#[test]
fn a_server_that_tells_no_levels_is_asked_in_the_order_of_the_command_line() {
    use axum::http::StatusCode;

    let server = TestServer::with_routes(|| {
        let api = throttle_http::Api::new(crate::support::handle([("A", 1, 0), ("B", 3, 1)]));
        let gone = async || (StatusCode::NOT_FOUND, "not found");
        axum::Router::new()
            .route("/semaphores", axum::routing::get(gone))
            .fallback_service(api.routes())
    });
    assert_eq!(run(&mut server.throttlectl(&["lock", "B", "A", "--", "true"])).0, 0);
    let (code, _, stderr) = run(&mut server.throttlectl(&["lock", "A", "B", "--", "true"]));
    assert_eq!(code, 78);
    assert!(stderr.contains("409 lock_hierarchy_violation"), "{stderr}");
}

#[test]
fn a_conflict_may_have_another_status() {
    let server = TestServer::new();
    let mut holder = start(&mut server.lock(&[], "echo in > in; exec sleep 60"));
    line(&server.file("in"));
    for flags in [["--nonblocking", "-E", "3"], ["--wait=1s", "--conflict-exit-code", "3"]] {
        assert_eq!(run(&mut server.lock(&flags, "echo never")).0, 3);
    }
    let (code, _, _) = run(&mut server.throttlectl(&["lock", "X", "-E", "3", "--", "true"]));
    assert_eq!(code, 78, "a refusal is no conflict");
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
}

#[test]
fn several_semaphores_are_held_together_by_one_peer_in_the_order_of_their_levels() {
    let server = TestServer::new();
    let show = format!("echo \"$THROTTLE_LOCKS\"; {CTL} peers --output json");
    // A is below B, so it is taken last, however they are named.
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
        assert_eq!(free.held, 0, "{name} is given back");
    }
}

#[test]
fn semaphores_of_one_level_cannot_be_held_together_and_nobody_waits_for_that() {
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
fn a_lock_within_a_lock_is_refused_in_the_order_in_which_it_could_deadlock() {
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
        let told = format!("lock_hierarchy_violation: {inner:?} is of level");
        assert!(stderr.contains(&told), "{stderr}");
    }
    // What runs side by side in there is independent of each other.
    let both = format!("{CTL} lock A -- true & {CTL} lock C -- true; r=$?; wait $! && exit $r");
    let (code, _, stderr) = run(&mut server.throttlectl(&["lock", "B", "--", "sh", "-c", &both]));
    assert_eq!(code, 0, "{stderr}");
    // A peer that is gone, or of another server, holds nothing.
    let mut alone = server.throttlectl(&["lock", "B", "--", "true"]);
    assert_eq!(run(alone.env("THROTTLE_PEER", "5")).0, 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody holds a lock in real time")]
fn a_lock_is_held_for_its_least_time_also_if_the_command_is_quicker() {
    let server = TestServer::new();
    let start = Instant::now();
    let (code, _, _) = run(&mut server.lock(&["--hold-at-least", "300ms"], "exit 7"));
    assert_eq!(code, 7);
    assert!(start.elapsed() >= Duration::from_millis(300));
    // It ends before, if somebody says so.
    let mut holder = self::start(&mut server.lock(&["--hold-at-least", "1h"], "echo x > done"));
    line(&server.file("done"));
    let (code, _, _) = run(&mut server.lock(&["--nonblocking"], "true"));
    assert_eq!(code, 75, "it is held");
    signal("TERM", holder.id());
    assert!(matches!(end(&mut holder), 0 | 143));
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
    assert_eq!(end(&mut holder), 0);
    let (mut holder, _) = hold();
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
    let remainder = server.call(|it| async move { it.remainder("A").await.unwrap() });
    assert_eq!(remainder, 1);
    // An answer that nobody gets is no lock.
    let (_, broken) = std::io::pipe().unwrap();
    let mut command = server.throttlectl(&["lock", "A"]);
    let (code, _, stderr) = run(command.stdin(Stdio::piped()).stdout(broken));
    assert_ne!(code, 0, "{stderr}");
}

/// A pipe that is full and not read lets nobody write, for ever.
#[test]
#[cfg(target_os = "linux")]
fn without_a_command_a_signal_ends_it_also_while_nobody_reads_what_it_tells() {
    use std::{io::Write as _, process::Stdio};

    let server = TestServer::new();
    let (_reader, mut writer) = std::io::pipe().unwrap();
    let room = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![0; room]).unwrap();
    let mut command = server.throttlectl(&["lock", "A"]);
    let mut holder = command.stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
    let remainder = || server.call(|it| async move { it.remainder("A").await.unwrap() });
    until(|| remainder() == 0);
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
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

/// `/dev/full` refuses every byte, and a pipe without a reader breaks.
#[test]
#[cfg(target_os = "linux")]
fn the_status_is_the_documented_one_whatever_becomes_of_the_message() {
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
