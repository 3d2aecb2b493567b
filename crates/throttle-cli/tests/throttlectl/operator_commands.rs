//! Commands for operators: available, check, health, metrics, reload.

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use metrics::NoopRecorder;
use throttle_client::Reloaded;
use throttle_http::{Api, Metrics};

use crate::{
    show::crowded,
    support::{TestServer, run, throttlectl},
};

#[test]
fn available_shows_whether_locks_are_free_and_acquires_none() {
    let (server, _) = crowded();
    for (arguments, expected, shown) in [
        (&["B"][..], 0, "B: could be locked now, 1 of 3 free\n"),
        (&["B:2"], 75, "B: could not be locked now, 1 of 3 free\n"),
        (&["A"], 75, "A: could not be locked now, 0 of 1 free, others wait\n"),
        (
            &["B", "A"],
            75,
            "B: could be locked now, 1 of 3 free\n\
             A: could not be locked now, 0 of 1 free, others wait\n",
        ),
    ] {
        let (code, stdout, stderr) = run(server.throttlectl(&["available"]).args(arguments));
        assert_eq!((code, &*stdout, &*stderr), (expected, shown, ""), "{arguments:?}");
    }
    let remainder = server.call(|it| async move { it.remainder("B").await.unwrap() });
    assert_eq!(remainder, 1);
    for (argument, expected, message) in [
        ("B:4", 78, "\"B\": 4 can never be granted, there are only 3"),
        ("X", 78, "\"X\": "),
        ("B:0", 64, "'B:0'"),
        ("B:", 64, "'B:'"),
    ] {
        let (code, _, stderr) = run(&mut server.throttlectl(&["available", argument]));
        assert_eq!(code, expected, "{argument}: {stderr}");
        assert!(stderr.contains(message), "{stderr}");
    }
}

/// The server passes over a parked waiter, whose connection is broken.
#[test]
fn available_counts_waiters_but_no_parked_ones() {
    let semaphore = |parked: bool| {
        format!(
            r#"{{"name":"A","max":2,"level":0,"held":0,"pending":2,"remainder":2,"holders":0,
            "waiters":1,"longest_pending":"1s","held_by":[],"queue":[{{"peer_id":1,"count":2,
            "waiting_for":"1s","parked":{parked},"time_left":"1m"}}]}}"#
        )
    };
    for (parked, expected) in [(true, 0), (false, 75)] {
        let answer = semaphore(parked);
        let server = TestServer::with_routes(|| {
            let routes = Router::new().route("/version", get(async || "0.6.0"));
            let routes = routes.route("/ready", get(async || "Ready"));
            routes.route("/semaphores/A", get(async move || answer))
        });
        assert_eq!(run(&mut server.throttlectl(&["available", "A"])).0, expected);
    }
}

/// Free permits are granted to nobody during a grace period, nor if the semaphore is retired (D9).
#[test]
fn what_nobody_is_granted_is_not_available() {
    let available = |grace: &str, retired: bool| {
        let readiness = format!(r#"{{"ready":true,{grace}"durable":false}}"#);
        let semaphore = format!(
            r#"{{"name":"A","max":2,"level":0,"held":1,"pending":0,"remainder":1,"holders":1,
            "waiters":0,"longest_pending":"0s","retired":{retired},"held_by":[],"queue":[]}}"#
        );
        let server = TestServer::with_routes(|| {
            let routes = Router::new().route("/version", get(async || "0.6.0"));
            let json = [("content-type", "application/json")];
            let routes = routes.route("/ready", get(async move || (json, readiness)));
            routes.route("/semaphores/A", get(async move || semaphore))
        });
        run(&mut server.throttlectl(&["available", "A"]))
    };
    let (code, stdout, _) = available("", false);
    assert_eq!((code, &*stdout), (0, "A: could be locked now, 1 of 2 free\n"));
    let grace = r#""grace_left":"12s 345ms","grace_left_seconds":12.345,"#;
    let (code, stdout, _) = available(grace, false);
    let expected =
        "A: could not be locked now, 1 of 2 free\nnothing new is granted for another 12s\n";
    assert_eq!((code, &*stdout), (75, expected));
    let (code, stdout, stderr) = available("", true);
    assert_eq!((code, &*stdout), (78, ""));
    assert!(stderr.contains("\"A\" is retired: "), "{stderr}");
}

/// A server that answers about the token 7 of `a/b` with this status, media type and body.
fn about_a_token(status: u16, media_type: &'static str, body: &'static str) -> TestServer {
    TestServer::with_routes(|| {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = async move || (status, [("content-type", media_type)], body);
        let routes = Router::new().route("/version", get(async || "0.6.0"));
        routes.route("/semaphores/a%2Fb/fencing/7", get(answer))
    })
}

#[test]
fn the_exit_status_shows_whether_the_lock_with_a_token_is_held() {
    let held = r#"{"semaphore":"a/b","peer_id":42,"count":2,"fencing_token":7,"held_for":"1m",
        "held_for_seconds":60.0,"time_left":"30s","time_left_seconds":30.0,"labels":{"job":"x"}}"#;
    let server = about_a_token(200, "application/json", held);
    let (code, stdout, stderr) = run(&mut server.throttlectl(&["check", "a/b", "7"]));
    assert_eq!((code, &*stderr), (0, ""));
    let table = "HOLDER  COUNT  HELD FOR  TIME LEFT  TOKEN  LABELS\n\
        42      2      1m        30s        7      job=x\n";
    assert_eq!(stdout, table);
    let (code, stdout, _) = run(&mut server.throttlectl(&["check", "a/b", "7", "-o", "json"]));
    assert_eq!(code, 0);
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(read(&stdout), read(held));

    let problem = |code| {
        format!(r#"{{"type":"","title":"","status":404,"detail":"Really.","code":"{code}"}}"#)
            .leak()
    };
    let json = "application/problem+json";
    for (status, body, expected, message) in [
        (
            404,
            problem("not_held"),
            76,
            "throttlectl: \"a/b\": the lock with the token 7 is not held\n",
        ),
        (400, problem("unknown_semaphore"), 78, "\"a/b\": refused with 400 unknown_semaphore"),
        (503, problem("store_failed"), 69, "\"a/b\": refused with 503 store_failed"),
    ] {
        let server = about_a_token(status, json, body);
        let (code, stdout, stderr) = run(&mut server.throttlectl(&["check", "a/b", "7"]));
        assert_eq!((code, &*stdout), (expected, ""), "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
    }
    for token in ["-1", "x", "1.5", "18446744073709551616", ""] {
        let (code, _, stderr) = run(&mut throttlectl("http://localhost", &["check", "A", token]));
        assert_eq!(code, 64, "{token}: {stderr}");
    }
}

#[test]
fn a_reload_shows_the_changes_or_why_it_is_refused() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let changes = Reloaded {
        added: names(&["C", "D"]),
        changed: names(&["A"]),
        removed: names(&[]),
        retired: names(&["E"]),
        deferred: names(&["B"]),
    };
    let refused = Err("line 3: no such key\nline 4: no such key".to_owned());
    for (outcome, flags, expected) in [
        (
            Ok(changes.clone()),
            &[][..],
            (0, "added     C\nadded     D\nchanged   A\nretired   E\ndeferred  B\n"),
        ),
        (Ok(Reloaded::default()), &[], (0, "no semaphore has changed\n")),
        (
            Ok(changes),
            &["-o", "json"],
            (
                0,
                "{\n  \"added\": [\n    \"C\",\n    \"D\"\n  ],\n  \"changed\": [\n    \"A\"\n  ],\n  \
                 \"removed\": [],\n  \"retired\": [\n    \"E\"\n  ],\n  \"deferred\": [\n    \"B\"\n  ]\n}\n",
            ),
        ),
        (refused, &[], (78, "")),
    ] {
        let is_refused = outcome.is_err();
        let server = TestServer::with_api(|handle| {
            Api::new(handle).reload(move || std::future::ready(outcome.clone()))
        });
        let (code, stdout, stderr) = run(server.throttlectl(&["reload"]).args(flags));
        assert_eq!((code, &*stdout), expected);
        let reasons = "line 3: no such key\nline 4: no such key\n";
        assert_eq!(stderr.ends_with(reasons), is_refused, "{stderr}");
    }
}

#[test]
fn metrics_are_printed_unchanged() {
    let text = "# TYPE jobs gauge\njobs{name=\"a\u{1b}\"} 5\n";
    let server = TestServer::with_api(|handle| {
        Api::new(handle).metrics(Metrics::new(Arc::new(NoopRecorder), Arc::new(|| text.to_owned())))
    });
    let (code, stdout, _) = run(&mut server.throttlectl(&["metrics"]));
    assert_eq!(code, 0);
    assert!(stdout.contains(text), "{stdout}");
}

#[test]
fn the_exit_status_shows_the_health() {
    let server = TestServer::new();
    assert_eq!(run(&mut server.throttlectl(&["health"])), (0, "ready\n".to_owned(), String::new()));
    let (code, stdout, _) = run(&mut server.throttlectl(&["health", "--live"]));
    assert_eq!((code, &*stdout), (0, "alive\n"));

    let problem = |code| {
        let body = format!(
            r#"{{"type":"about:blank","title":"x","status":503,"detail":"x","code":"{code}"}}"#
        );
        ([("content-type", "application/problem+json")], body)
    };
    let draining = TestServer::with_routes(|| {
        let not_ready = async move || (StatusCode::SERVICE_UNAVAILABLE, problem("not_ready"));
        let routes = Router::new().route("/health", get(async || "Ok"));
        routes.route("/version", get(async || "0.6.0")).route("/ready", get(not_ready))
    });
    assert_eq!(run(&mut draining.throttlectl(&["health", "--live"])).0, 0);
    let (code, _, stderr) = run(&mut draining.throttlectl(&["health"]));
    assert_eq!(code, 69);
    assert!(stderr.contains("it shuts down"), "{stderr}");

    let broken = TestServer::with_routes(|| {
        let internal = async move || (StatusCode::INTERNAL_SERVER_ERROR, problem("internal"));
        Router::new().route("/health", get(internal))
    });
    assert_eq!(run(&mut broken.throttlectl(&["health"])).0, 69);

    let url = server.url.clone();
    drop(server.shut_down());
    let (code, _, stderr) = run(&mut throttlectl(&url, &["health"]));
    assert_eq!(code, 69);
    assert!(!stderr.is_empty());
}
