//! Commands that show the state of a server.

use std::time::Duration;

use axum::{
    Router,
    http::{StatusCode, Uri},
    routing::get,
};
use expect_test::{Expect, expect};

use crate::support::{TestServer, run};

/// A server where one peer holds two of `B` and waits for `A`, which another peer holds. Returns it with the
/// ids and tokens that differ from run to run, and a name for each.
pub(crate) fn crowded() -> (TestServer, Vec<(u64, &'static str)>) {
    let server = TestServer::new();
    let names = server.call(|it| async move {
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
    (server, names)
}

/// Compares the output, without ids, spans and the width of columns.
#[track_caller]
fn check(arguments: &[&str], expected: Expect) {
    let (server, names) = crowded();
    let (code, mut stdout, stderr) = run(&mut server.throttlectl(arguments));
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
fn semaphores_are_shown_in_numbers() {
    check(
        &["semaphores"],
        expect![[r#"
        SEMAPHORE LEVEL MAX HELD FREE HOLDERS WAITERS LONGEST WAIT
        A 0 1 1 0 1 1 ~
        B 1 3 2 1 1 0 -
    "#]],
    );
}

#[test]
fn a_semaphore_is_shown_with_its_holders_and_its_queue() {
    check(
        &["semaphore", "A"],
        expect![[r#"
        SEMAPHORE LEVEL MAX HELD FREE HOLDERS WAITERS LONGEST WAIT
        A 0 1 1 0 1 1 ~

        HOLDER COUNT HELD FOR TIME LEFT TOKEN LABELS
        BOB 1 ~ TA -

        WAITER COUNT WAITING FOR TIME LEFT PLACE LABELS
        ANN 1 ~ 1 job=nightly
    "#]],
    );
}

#[test]
fn peers_are_shown_with_their_locks() {
    let (server, _) = crowded();
    let (code, stdout, _) = run(&mut server.throttlectl(&["peers"]));
    assert_eq!(code, 0);
    assert_eq!(stdout.lines().count(), 3);
    assert!(stdout.contains("B x2") && stdout.contains("A x1"), "{stdout}");
}

#[test]
fn the_status_is_a_summary_in_numbers() {
    check(
        &["status"],
        expect![[r#"
        version 0.6.0
        ready yes
        memory does not survive a crash
        semaphores 2
        locks held 2
        locks pending 1
    "#]],
    );
}

/// A server with these semaphores, which answers `/ready` with `readiness`.
fn telling(readiness: &'static str, semaphores: &'static str) -> TestServer {
    TestServer::with_routes(|| {
        let json = move |text| async move { ([("content-type", "application/json")], text) };
        Router::new()
            .route("/version", get(async || "0.6.0"))
            .route("/ready", get(move || json(readiness)))
            .route("/semaphores", get(move || json(semaphores)))
    })
}

#[test]
fn the_status_tells_a_grace_period_and_whether_the_memory_is_durable() {
    let running =
        r#"{"ready":true,"grace_left":"1m 2s 345ms","grace_left_seconds":62.345,"durable":false}"#;
    for (readiness, ready, memory) in [
        (
            running,
            "ready          yes, but nothing new is granted for another 1m 2s",
            "memory         does not survive a crash",
        ),
        (
            r#"{"ready":true,"durable":true}"#,
            "ready          yes",
            "memory         survives a crash",
        ),
    ] {
        let server = telling(readiness, "[]");
        let (code, stdout, stderr) = run(&mut server.throttlectl(&["status"]));
        assert_eq!((code, &*stderr), (0, ""));
        let lines: Vec<_> = stdout.lines().collect();
        assert_eq!(lines[1..3], [ready, memory]);
    }
    let server = telling(running, "[]");
    let (code, stdout, _) = run(&mut server.throttlectl(&["status", "-o", "json"]));
    assert_eq!(code, 0);
    let status: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status["grace_left"], "1m 2s 345ms");
    assert_eq!(status["grace_left_seconds"], 62.345);
    assert_eq!((&status["ready"], &status["durable"]), (&true.into(), &false.into()));
}

/// D9
#[test]
fn semaphores_that_differ_from_their_configuration_have_a_note() {
    let semaphores = r#"[{"name":"A","max":1,"level":0,"held":1,"pending":0,"remainder":0,"holders":1,
        "waiters":0,"longest_pending":"0s","retired":true},{"name":"B","max":3,"level":1,"held":1,
        "pending":0,"remainder":2,"holders":1,"waiters":0,"longest_pending":"0s","next_level":-2},
        {"name":"C","max":1,"level":2,"held":0,"pending":0,"remainder":1,"holders":0,"waiters":0,
        "longest_pending":"0s"}]"#;
    let server = telling("", semaphores);
    let (code, stdout, _) = run(&mut server.throttlectl(&["semaphores"]));
    assert_eq!(code, 0);
    expect![[r#"
        SEMAPHORE  LEVEL  MAX  HELD  FREE  HOLDERS  WAITERS  LONGEST WAIT  NOTE
        A          0      1    1     0     1        0        -             retired
        B          1      3    1     2     1        0        -             level -2 once it is unused
        C          2      1    0     1     0        0        -             -
    "#]]
    .assert_eq(&stdout);
}

#[test]
fn json_is_the_answer_of_the_server() {
    let (server, names) = crowded();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let (code, stdout, _) = run(server.throttlectl(arguments).args(["--output", "json"]));
        assert_eq!(code, 0);
        serde_json::from_str(&stdout).unwrap()
    };
    assert_eq!(json(&["semaphores"])[1]["remainder"], 1);
    assert_eq!(json(&["semaphore", "A"])["queue"][0]["peer_id"], names[0].0);
    assert_eq!(json(&["peers"]).as_array().unwrap().len(), 2);
    assert_eq!(json(&["status"])["locks_pending"], 1);
}

#[test]
fn a_peer_that_is_removed_releases_its_locks() {
    let (server, names) = crowded();
    let (code, stdout, _) = run(&mut server.throttlectl(&["remove-peer", &names[1].0.to_string()]));
    assert_eq!((code, &*stdout), (0, "removed\n"));
    let holder =
        server.call(|it| async move { it.semaphore("A").await.unwrap().held_by[0].peer_id });
    assert_eq!(holder, names[0].0);
    let (code, stdout, stderr) = run(&mut server.throttlectl(&["remove-peer", "5"]));
    assert_eq!((code, &*stdout, &*stderr), (67, "", "throttlectl: there is no peer 5\n"));
}

#[test]
fn an_unknown_name_is_reported() {
    let server = TestServer::new();
    let (code, _, stderr) = run(&mut server.throttlectl(&["semaphore", "X"]));
    assert_eq!(code, 78);
    assert!(stderr.starts_with("throttlectl: \"X\": refused with 400"), "{stderr}");
}

/// A newer server, whose answer has unknown members, long numbers and an order of its own.
#[test]
fn json_keeps_members_that_this_version_does_not_know() {
    let semaphores = r#"[{"zone":{"cost":1.50,"big":18446744073709551616},"name":"A\u0001","max":1,"level":0,
        "held":0,"pending":0,"remainder":1,"holders":0,"waiters":0,"longest_pending":"0s"}]"#;
    let server = TestServer::with_routes(|| {
        let routes = Router::new().route("/version", get(async || "0.7.0"));
        routes.route("/semaphores", get(async move || semaphores))
    });
    let (code, stdout, _) = run(&mut server.throttlectl(&["semaphores", "-o", "json"]));
    assert_eq!(code, 0);
    let beginning = "[\n  {\n    \"zone\": {\n      \"cost\": 1.50,\n      \"big\": 18446744073709551616\n    },\n    \
        \"name\": \"A\\u0001\",\n";
    assert!(stdout.starts_with(beginning), "{stdout}");
    let (code, stdout, _) = run(&mut server.throttlectl(&["semaphores"]));
    assert_eq!(code, 0);
    assert!(stdout.contains("A\\u{1}"), "{stdout}");
}

/// Such a server has no routes for semaphores, but it has metrics.
#[test]
fn a_server_of_version_0_5_is_shown_as_far_as_it_reports() {
    let server = TestServer::with_routes(|| {
        let metrics = "throttle_max{semaphore=\"A\"} 5\nthrottle_acquired{semaphore=\"A\"} 3\n\
            throttle_pending{semaphore=\"A\"} 4\nthrottle_longest_pending_sec{semaphore=\"A\"} 61\n";
        let remainder = async |uri: Uri| {
            if uri.query() == Some("semaphore=A") {
                (StatusCode::OK, "2")
            } else {
                (StatusCode::BAD_REQUEST, "Unknown semaphore")
            }
        };
        Router::new()
            .route("/version", get(async || "0.5.13"))
            .route("/health", get(async || "Ok"))
            .route("/metrics", get(async move || metrics))
            .route("/remainder", get(remainder))
            .route("/peers/", get(async || r#"[{"id":42}]"#))
    });
    for (arguments, expected, shown) in [
        (&["semaphores"][..], 0, "A          -      5    3     2     -        -        1m 1s"),
        (&["semaphore", "A"], 0, "A          -      5    3     2     -        -        1m 1s"),
        (&["semaphore", "X"], 78, "Unknown semaphore"),
        (&["status"], 0, "semaphores     1"),
        (&["peers"], 0, "42"),
        (&["health"], 0, "ready"),
        (&["reload"], 78, "at its start only"),
        (&["available", "A:2"], 75, "others wait"),
        (&["available", "A:6"], 78, "can never be granted"),
        (&["check", "A", "7"], 78, "has no fencing tokens"),
    ] {
        let (code, stdout, stderr) = run(&mut server.throttlectl(arguments));
        assert_eq!(code, expected, "{arguments:?}: {stderr}");
        assert!(!stdout.contains("HOLDER  "), "such a server does not report holders: {stdout}");
        assert!((stdout.clone() + &stderr).contains(shown), "{arguments:?}: {stdout}{stderr}");
    }
}
