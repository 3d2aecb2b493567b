//! Full streams, and streams without a reader.

use std::{
    fs::{File, OpenOptions},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, http::StatusCode, routing::get};

use crate::support::{TestServer, run, throttlectl};

/// All commands that print a result.
const PRINTING: &[&[&str]] = &[
    &["semaphores"],
    &["semaphore", "A"],
    &["semaphores", "--output", "json"],
    &["status"],
    &["status", "--output", "json"],
    &["peers"],
    &["available", "A"],
    &["health"],
    &["watch"],
    &["man"],
    &["completions", "bash"],
    &["--help"],
    &["--version"],
    &["help", "lock"],
];

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_with_its_own_exit_status() {
    let server = TestServer::new();
    for arguments in PRINTING {
        let (code, _, stderr) = run(server.throttlectl(arguments).stdout(full()));
        let expected =
            "throttlectl: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((code, &*stderr), (74, expected), "{arguments:?}");
    }
}

/// For example with `throttlectl semaphores | head -1`.
#[test]
fn a_closed_pipe_is_no_error() {
    let server = TestServer::new();
    for arguments in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, _, stderr) = run(server.throttlectl(arguments).stdout(writer));
        assert_eq!((code, &*stderr), (0, ""), "{arguments:?}");
    }
}

#[test]
fn a_message_that_cannot_be_written_does_not_change_the_exit_status() {
    let server = TestServer::new();
    let nobody = "http://127.0.0.1:9";
    for (mut command, expected) in [
        (server.throttlectl(&["semaphore", "X"]), 78),
        (server.throttlectl(&["remove-peer", "5"]), 67),
        (server.throttlectl(&["nonsense"]), 64),
        (server.throttlectl(&["-vv", "status"]), 0),
        (throttlectl(nobody, &["health"]), 69),
    ] {
        let code = |command: &mut Command, stderr: Stdio| {
            command.stdout(Stdio::null()).stderr(stderr).status().unwrap().code()
        };
        assert_eq!(code(&mut command, full().into()), Some(expected), "{command:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(code(&mut command, writer.into()), Some(expected), "{command:?}");
    }
}

/// A proxy without a server behind it answers the first request of each run.
#[test]
fn verbose_shows_what_the_client_does() {
    let requests = Arc::new(AtomicUsize::new(0));
    let version = move || {
        let is_lost = requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let answer =
            if is_lost { (StatusCode::BAD_GATEWAY, "") } else { (StatusCode::OK, "0.6.0") };
        std::future::ready(answer)
    };
    let server = TestServer::with_routes(|| {
        Router::new().route("/version", get(version)).route("/semaphores", get(async || "[]"))
    });
    for (flag, [attempts, connections]) in
        [(None, [false, false]), (Some("-v"), [true, false]), (Some("-vv"), [true, true])]
    {
        let (code, _, stderr) = run(server.throttlectl(&["semaphores"]).args(flag));
        assert_eq!(code, 0);
        assert_eq!(
            stderr.contains("throttle::client: trying again"),
            attempts,
            "{flag:?}: {stderr}"
        );
        assert_eq!(stderr.contains("hyper_util"), connections, "{flag:?}: {stderr}");
        assert_eq!(stderr.is_empty(), flag.is_none());
    }
}

/// An answer of a server or a proxy may contain any characters.
#[test]
fn a_message_cannot_move_the_cursor() {
    let problem =
        r#"{"type":"x","title":"x","status":400,"code":"unknown_semaphore","detail":"\u001b[2J"}"#;
    let refusal =
        (StatusCode::BAD_REQUEST, [("content-type", "application/problem+json")], problem);
    let server = TestServer::with_routes(|| {
        let routes = Router::new().route("/semaphores/A", get(async move || refusal));
        routes.route("/version", get(async || "0.6.0")).fallback(async || "\x1b[2J")
    });
    for (arguments, expected) in [(&["semaphore", "A"][..], 78), (&["health"], 69)] {
        let (code, _, stderr) = run(&mut server.throttlectl(arguments));
        assert_eq!(code, expected);
        assert!(stderr.contains("u{1b}[2J") && !stderr.contains('\x1b'), "{stderr}");
    }
}

/// The server can be reached, but the environment names a proxy.
#[test]
fn a_proxy_that_cannot_be_reached_is_named() {
    let server = TestServer::new();
    let mut command = server.throttlectl(&["health"]);
    command.env_remove("NO_PROXY").env("http_proxy", "http://127.0.0.1:9");
    let (code, _, stderr) = run(&mut command);
    assert_eq!(code, 69);
    let expected =
        format!("cannot connect to {} through the proxy http://127.0.0.1:9:", server.url);
    assert!(stderr.contains(&expected), "{stderr}");
}
