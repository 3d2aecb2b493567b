//! What is shown of a server.

use std::time::Duration;

use expect_test::{Expect, expect};

use crate::support::{World, end, run, start, throttlectl};
#[cfg(unix)]
use crate::support::{signal, until};

/// A server where a peer holds two of `B` and waits for `A`, which another one holds. Returns it and
/// the numbers of all that differs from run to run.
fn crowded() -> (World, Vec<(u64, &'static str)>) {
    let world = World::new();
    let names = world.ask(|it| async move {
        let hour = Duration::from_secs(3_600);
        let ann = it.new_peer(hour).labels([("job", "nightly")]).await.unwrap();
        let bob = it.new_peer(hour).await.unwrap();
        let _ = it.acquire(ann, "B", 2).await.unwrap();
        let _ = it.acquire(bob, "A", 1).await.unwrap();
        let _ = it.acquire(ann, "A", 1).await.unwrap();
        let token = |semaphore| {
            let it = it.clone();
            async move { it.semaphore(semaphore).await.unwrap().held_by[0].fencing_token }
        };
        vec![(ann, "ANN"), (bob, "BOB"), (token("A").await, "TA"), (token("B").await, "TB")]
    });
    (world, names)
}

/// Compares what is printed, without ids, spans and the width of columns.
#[track_caller]
fn check(arguments: &[&str], expected: Expect) {
    let (world, names) = crowded();
    let (code, mut stdout, stderr) = run(&mut world.throttlectl(arguments));
    assert_eq!((code, &*stderr), (0, ""));
    for (number, name) in names {
        stdout = stdout.replace(&number.to_string(), name);
    }
    let mut tidy = String::new();
    for line in stdout.lines() {
        let words = line.split_whitespace().map(|word| {
            let is_span = word.ends_with("ms") || word.ends_with('s') && word.len() < 5;
            let is_span = is_span && word.starts_with(|first: char| first.is_ascii_digit());
            if is_span || word == "59m" || word == "1h" { "~" } else { word }
        });
        let mut words: Vec<_> = words.collect();
        words.dedup_by(|one, other| *one == "~" && *other == "~");
        tidy += words.join(" ").trim_end();
        tidy.push('\n');
    }
    expected.assert_eq(&tidy);
}

#[test]
fn semaphores_in_numbers() {
    check(
        &["semaphores"],
        expect![[r#"
        SEMAPHORE LEVEL MAX HELD FREE HOLDERS WAITERS LONGEST
        A 0 1 1 0 1 1 ~
        B 1 3 2 1 1 0 -
    "#]],
    );
}

#[test]
fn one_semaphore_with_its_queue() {
    check(
        &["semaphore", "A"],
        expect![[r#"
        SEMAPHORE LEVEL MAX HELD FREE HOLDERS WAITERS LONGEST
        A 0 1 1 0 1 1 ~

        HOLDER COUNT SINCE LEASE ENDS TOKEN LABELS
        BOB 1 ~ TA -

        WAITER COUNT SINCE LEASE ENDS PLACE LABELS
        ANN 1 ~ 1 job=nightly
    "#]],
    );
}

#[test]
fn peers() {
    let (world, _) = crowded();
    let (code, stdout, _) = run(&mut world.throttlectl(&["peers"]));
    assert_eq!(code, 0);
    assert_eq!(stdout.lines().count(), 3);
    assert!(stdout.contains("B x2") && stdout.contains("A x1"), "{stdout}");
}

#[test]
fn the_status() {
    check(
        &["status"],
        expect![[r#"
        version 0.6.0
        ready yes
        semaphores 2
        locks held 2
        locks pending 1
    "#]],
    );
}

#[test]
fn json_is_what_the_server_says() {
    let (world, names) = crowded();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let (code, stdout, _) = run(world.throttlectl(arguments).args(["--output", "json"]));
        assert_eq!(code, 0);
        serde_json::from_str(&stdout).unwrap()
    };
    assert_eq!(json(&["semaphores"])[1]["remainder"], 1);
    assert_eq!(json(&["semaphore", "A"])["queue"][0]["peer_id"], names[0].0);
    assert_eq!(json(&["peers"]).as_array().unwrap().len(), 2);
    assert_eq!(json(&["status"])["locks_pending"], 1);
}

#[test]
fn a_peer_that_is_removed_gives_everything_back() {
    let (world, names) = crowded();
    let (code, stdout, _) = run(&mut world.throttlectl(&["remove-peer", &names[1].0.to_string()]));
    assert_eq!((code, &*stdout), (0, "removed\n"));
    let holder = world.ask(|it| async move { it.semaphore("A").await.unwrap().held_by[0].peer_id });
    assert_eq!(holder, names[0].0);
    let (code, stdout, _) = run(&mut world.throttlectl(&["remove-peer", "5"]));
    assert_eq!((code, &*stdout), (0, "there is no such peer\n"));
}

#[test]
fn a_name_that_is_not_there_is_told() {
    let world = World::new();
    let (code, _, stderr) = run(&mut world.throttlectl(&["semaphore", "X"]));
    assert_eq!(code, 78);
    assert!(stderr.starts_with("throttlectl: \"X\": refused with 400"), "{stderr}");
}

#[test]
#[cfg(unix)]
fn a_table_stays_up_to_date_until_it_is_interrupted() {
    let (world, _) = crowded();
    let file = std::fs::File::create(world.file("watched")).unwrap();
    let mut command = world.throttlectl(&["watch", "--interval", "10ms"]);
    let mut program = command.stdout(file).spawn().unwrap();
    let tables = || {
        let text = std::fs::read_to_string(world.file("watched")).unwrap();
        text.matches("SEMAPHORE").count()
    };
    until(|| tables() >= 3);
    signal("INT", program.id());
    assert_eq!(end(&mut program), 0);
}

#[test]
fn the_manual_tells_every_exit_code_and_every_command() {
    let (code, page, _) = run(&mut throttlectl("http://localhost", &["man"]));
    assert_eq!(code, 0);
    let words =
        ["64", "69", "71", "75", "76", "78", "126", "127", "128+N", "remove", "nonblocking"];
    for word in words {
        assert!(page.contains(word), "{word} is missing");
    }
    assert!(!page.contains("bond"), "that is nobody's business");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, text, _) = run(&mut throttlectl("http://localhost", &["completions", shell]));
        assert_eq!(code, 0);
        assert!(text.contains("nonblocking"), "{shell}");
    }
    let mut help = start(&mut throttlectl("http://localhost", &["--help"]));
    assert_eq!(end(&mut help), 0);
}

/// As with `throttlectl completions bash | head`.
#[test]
fn pages_for_a_reader_who_has_gone_are_no_panic() {
    for page in [&["completions", "bash"][..], &["man"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, _, errors) = run(throttlectl("http://localhost", page).stdout(writer));
        assert_eq!(code, 71, "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }
}
