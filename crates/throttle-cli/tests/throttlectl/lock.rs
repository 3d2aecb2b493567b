//! Commands under a lock, when all goes well or nothing begins.

use std::fs;

use crate::support::{World, end, line, run, signal, start, throttlectl, until};

#[test]
fn the_exit_code_of_the_command_is_passed_through() {
    let world = World::new();
    for (script, code) in [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137)] {
        assert_eq!(run(&mut world.lock(&[], script)).0, code, "{script}");
    }
    let remainder = world.ask(|it| async move { it.remainder("A").await.unwrap() });
    assert_eq!(remainder, 1, "and the lock is given back");
}

#[test]
fn the_command_knows_its_lock() {
    let world = World::new();
    let script = "echo $THROTTLE_SEMAPHORE $THROTTLE_PEER $THROTTLE_FENCING_TOKEN";
    let flags = ["lock", "B", "--count", "2", "--label", "job=nightly", "--", "sh", "-c"];
    let show = format!("{script}; {} semaphore B --output json", env!("CARGO_BIN_EXE_throttlectl"));
    let (code, stdout, _) = run(world.throttlectl(&flags).arg(show));
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
    let world = World::new();
    let mut holder = start(&mut world.lock(&[], "echo in > in; exec sleep 60"));
    line(&world.file("in"));
    for flags in [&["--nonblocking"][..], &["--wait", "50ms"]] {
        let (code, stdout, stderr) = run(&mut world.lock(flags, "echo never"));
        assert_eq!((code, &*stdout), (75, ""));
        assert_eq!(stderr, "throttlectl: no lock on \"A\": not acquired in time\n");
    }
    world.until_waiters(0);
    signal("TERM", holder.id());
    assert_eq!(end(&mut holder), 143);
}

#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let world = World::new();
    let fifo = world.file("end");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut first = start(&mut world.lock(&[], "echo first >> order; read line < end"));
    until(|| world.file("order").exists());
    let mut second = start(&mut world.lock(&[], "echo second >> order"));
    world.until_waiters(1);
    let mut third = start(&mut world.lock(&[], "echo third >> order"));
    world.until_waiters(2);
    fs::write(&fifo, "go\n").unwrap();
    assert_eq!([&mut first, &mut second, &mut third].map(end), [0, 0, 0]);
    assert_eq!(fs::read_to_string(world.file("order")).unwrap(), "first\nsecond\nthird\n");
}

#[test]
fn what_cannot_begin_says_why() {
    let world = World::new();
    let lock = |flags: &[&str]| run(world.throttlectl(&["lock"]).args(flags));
    let (code, _, stderr) = lock(&["X", "--", "true"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("no lock on \"X\": refused with 400 unknown_semaphore"), "{stderr}");
    assert_eq!(lock(&["A", "--count", "2", "--", "true"]).0, 78);
    let (code, _, stderr) = lock(&["A", "--", "/no/such/command"]);
    assert_eq!(code, 127);
    assert!(stderr.contains("cannot run /no/such/command"), "{stderr}");
    assert_eq!(lock(&["A", "--", "/"]).0, 126);
    for flags in
        [&["A"][..], &["A", "--count", "0", "--", "true"], &["A", "--lease", "x", "--", "true"]]
    {
        assert_eq!(lock(flags).0, 64, "{flags:?}");
    }
    assert_eq!(run(&mut throttlectl("ftp://host", &["lock", "A", "--", "true"])).0, 64);
}

#[test]
fn a_server_out_of_reach_has_an_exit_code_of_its_own() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let (code, _, stderr) = run(&mut throttlectl(&url, &["lock", "A", "--", "true"]));
    assert_eq!(code, 69);
    assert!(stderr.contains("no lock on \"A\": cannot connect to http:"), "{stderr}");
}

/// `/dev/full` refuses every byte, and a pipe without a reader breaks.
#[test]
#[cfg(target_os = "linux")]
fn the_status_is_the_documented_one_whatever_becomes_of_the_message() {
    let world = World::new();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let broken = || std::io::pipe().unwrap().1;
    for command in [["X", "--", "true"], ["A", "--count", "0"]] {
        let lock = || {
            let mut it = world.throttlectl(&["lock"]);
            it.args(command);
            it
        };
        let expected = if command[0] == "X" { 78 } else { 64 };
        assert_eq!(lock().stderr(full()).status().unwrap().code(), Some(expected));
        assert_eq!(lock().stderr(broken()).status().unwrap().code(), Some(expected));
    }
}
