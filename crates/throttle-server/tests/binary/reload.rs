//! The configuration changes while the server runs.

use crate::support::Server;

const A: &str = "[semaphores]\nA = 1\n";

/// A way to cause a reload. Returns its outcome as it is reported.
type Reload = fn(&mut Server) -> String;

fn by_http(server: &mut Server) -> String {
    let (status, body) = server.request("POST", "/admin/reload", "");
    format!("{status} {body}")
}

#[cfg(unix)]
fn by_signal(server: &mut Server) -> String {
    server.signal("HUP");
    server.wait_for("reload") + &server.wait_for("reload")
}

const WAYS: &[Reload] = &[
    by_http,
    #[cfg(unix)]
    by_signal,
];

#[test]
fn a_larger_maximum_grants_locks_to_waiters() {
    for reload in WAYS {
        let mut server = Server::start(A);
        let first = server.wait_for_lock("A");
        assert_eq!(first.answer().0, 200);
        let second = server.wait_for_lock("A");
        while server.waiters("A") < 1 {}
        server.configure("[semaphores]\nA = 2\nB = 1\n");
        let outcome = reload(&mut server);
        assert!(outcome.contains(r#"["A"]"#) && outcome.contains(r#"["B"]"#), "{outcome}");
        assert_eq!(second.answer().0, 200);
        assert_eq!(server.request("GET", "/remainder?semaphore=B", "").0, 200);
    }
}

#[test]
fn a_smaller_maximum_revokes_no_lock() {
    for reload in WAYS {
        let mut server = Server::start("[semaphores]\nA = 2\n");
        let locks = [(); 2].map(|()| server.wait_for_lock("A"));
        assert_eq!(locks.map(|lock| lock.answer().0), [200, 200]);
        server.configure(A);
        reload(&mut server);
        assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "-1");
    }
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported() {
    for reload in WAYS {
        let mut server = Server::start(A);
        for bad in [
            "[semaphores]\nA = 0\nB = 1\n",
            "[semaphores]\nA = 2\nB = 1\n'..' = 1\n",
            "[semaphores",
            "semaphore.A = 2\n",
        ] {
            server.configure(bad);
            let outcome = reload(&mut server);
            assert!(outcome.contains("throttle.toml:"), "{outcome}");
            assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "1");
            assert_eq!(server.request("GET", "/remainder?semaphore=B", "").0, 400);
        }
        server.configure("[semaphores]\nA = 0\nB = 0\n");
        let outcome = reload(&mut server);
        assert!(outcome.contains("toml:2:5: ") && outcome.contains("toml:3:5: "), "{outcome}");
        std::fs::remove_file(server.directory.path().join("throttle.toml")).unwrap();
        let outcome = reload(&mut server);
        assert!(outcome.contains("cannot read"), "{outcome}");
        assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "1");
    }
}

/// Editors and full disks leave such files behind, and a reload may happen at that moment.
#[test]
fn a_file_without_semaphores_removes_none_unless_it_says_so() {
    for reload in WAYS {
        let mut server = Server::start("[semaphores]\nA = 1\nB = 1\n");
        for half in ["", "abandoned_after = \"1s\"\n", "[semaphores]\n", "no_semaphores = false\n"]
        {
            server.configure(half);
            let outcome = reload(&mut server);
            assert!(
                outcome.contains("no_semaphores = true") && outcome.contains("2 are"),
                "{outcome}"
            );
            // For reloads by HTTP, the same warning is not logged again at once.
            if !outcome.contains("reload refused") && half.is_empty() {
                server.wait_for("WARN throttle_server::reload: reload refused");
            }
            assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "1");
        }
        server.configure("no_semaphores = true\n");
        reload(&mut server);
        assert_eq!(server.request("GET", "/semaphores", "").1, "[]");
        let removal = server.wait_for("removed semaphores");
        assert!(removal.contains("WARN"), "{removal}");
        assert!(removal.contains(r#"count=2 names=["A", "B"]"#), "{removal}");
        assert_eq!(server.request("POST", "/admin/reload", "").0, 200);
    }
}

/// After a power cut a file may have its length, but only zero bytes.
#[test]
fn a_file_of_zero_bytes_is_not_a_configuration() {
    let mut server = Server::start(A);
    for bad in ["\0\0\0\0", "[semaphores]\nA = 2\n\0\0\0", "[semaphores]\nA = 2 #\0"] {
        server.configure(bad);
        let outcome = by_http(&mut server);
        assert!(outcome.starts_with("422 ") && outcome.contains("throttle.toml:"), "{outcome}");
        assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "1");
    }
}

/// Kubernetes updates the files of a ConfigMap by replacing such a link.
#[cfg(unix)]
#[test]
fn a_file_behind_a_symbolic_link_is_replaced_as_a_whole() {
    use std::{fs, os::unix::fs::symlink};

    let mut server = Server::start(A);
    let path = |name: &str| server.directory.path().join(name);
    for version in ["1", "2"] {
        fs::create_dir(path(version)).unwrap();
        let config = format!("[semaphores]\nA = {version}\n");
        fs::write(path(version).join("throttle.toml"), config).unwrap();
    }
    symlink("1", path("current")).unwrap();
    fs::remove_file(path("throttle.toml")).unwrap();
    symlink("current/throttle.toml", path("throttle.toml")).unwrap();
    let names = [path("next"), path("current")];
    assert!(by_http(&mut server).starts_with("200 "));
    assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "1");
    symlink("2", &names[0]).unwrap();
    fs::rename(&names[0], &names[1]).unwrap();
    assert!(by_http(&mut server).starts_with("200 "));
    assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "2");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_blocks_nothing() {
    for reload in WAYS {
        let mut server = Server::start(A);
        let file = server.directory.path().join("throttle.toml");
        std::fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        let outcome = reload(&mut server);
        assert!(outcome.contains("throttle.toml is not a regular file"), "{outcome}");
        std::fs::remove_file(&file).unwrap();
        server.configure("[semaphores]\nA = 2\n");
        assert!(by_http(&mut server).starts_with("200 "));
        assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "2");
    }
}

/// D9
#[test]
fn a_semaphore_that_is_removed_while_it_is_in_use_stays_with_its_holders() {
    for reload in WAYS {
        let mut server = Server::start("[semaphores]\nA = 1\nB = 1\n");
        let (holder, stranger) = (server.new_peer(), server.new_peer());
        assert_eq!(server.lock(&holder, "A").0, 200);
        let waiter = server.wait_for_lock("A");
        while server.waiters("A") < 1 {}
        server.configure("[semaphores]\nC = 1\n");
        let outcome = reload(&mut server);
        if outcome.starts_with("200") {
            let lists = r#""removed":["B"],"retired":["A"],"deferred":[]}"#;
            assert!(outcome.ends_with(lists), "{outcome}");
        }
        assert!(server.wait_for("reload retired semaphores").contains(r#"names=["A"]"#));
        assert_eq!(waiter.answer(), (400, "Unknown semaphore".to_owned()));
        assert_eq!(server.lock(&stranger, "A").0, 400);
        assert_eq!(server.lock(&stranger, "C").0, 200);
        // The holder has it still, and lets it go.
        assert_eq!(server.lock(&holder, "A").0, 200);
        assert_eq!(server.json("/semaphores/A")["retired"], true);
        assert_eq!(server.request("DELETE", &format!("/peers/{holder}/A"), "").0, 200);
        assert_eq!(server.request("GET", "/remainder?semaphore=A", "").0, 400);
        let metrics = server.request("GET", "/metrics", "").1;
        assert!(metrics.contains(r#"semaphore="C""#) && !metrics.contains(r#"semaphore="A""#));
    }
}

#[test]
fn a_semaphore_that_is_not_in_use_is_removed() {
    let mut server = Server::start("[semaphores]\nA = 1\nB = 1\n");
    server.configure("[semaphores]\nA = 1\nC = 1\n");
    let outcome = by_http(&mut server);
    let lists = r#"{"added":["C"],"changed":[],"removed":["B"],"retired":[],"deferred":[]}"#;
    assert_eq!(outcome, format!("200 {lists}"));
    assert!(server.wait_for("removed semaphores").contains(r#"names=["B"]"#));
    assert_eq!(server.request("GET", "/remainder?semaphore=B", "").0, 400);
    let metrics = server.request("GET", "/metrics", "").1;
    assert!(metrics.contains(r#"semaphore="C""#) && !metrics.contains(r#"semaphore="B""#));
}

/// D9
#[test]
fn a_new_level_of_a_semaphore_in_use_takes_effect_when_it_is_unused() {
    for reload in WAYS {
        let mut server = Server::start("[semaphores]\nA = 1\n");
        let holder = server.new_peer();
        assert_eq!(server.lock(&holder, "A").0, 200);
        server.configure("[semaphores]\nA = { max = 1, level = 7 }\n");
        let outcome = reload(&mut server);
        assert!(outcome.contains("deferred") && outcome.contains(r#"["A"]"#), "{outcome}");
        assert!(server.wait_for("as soon as they are unused").contains(r#"names=["A"]"#));
        let level = |server: &Server| {
            let semaphore = server.json("/semaphores/A");
            (semaphore["level"].as_i64(), semaphore["next_level"].as_i64())
        };
        assert_eq!(level(&server), (Some(0), Some(7)));
        assert_eq!(server.request("DELETE", &format!("/peers/{holder}/A"), "").0, 200);
        assert_eq!(level(&server), (Some(7), None));
    }
}

#[test]
fn limits_of_peers_change_at_once_and_others_are_reported_to_take_a_restart() {
    let mut server = Server::start(A);
    server.configure("[semaphores]\nA = 1\n[limits]\npeers = 1\nbody = 3\n");
    assert!(by_http(&mut server).starts_with("200 "));
    let warning = server.wait_for("started again");
    assert!(warning.contains("limits.body") && !warning.contains("limits.peers"), "{warning}");
    server.new_peer(); // The body of the request is longer than three bytes.
    let (status, _) = server.request("POST", "/new_peer", r#"{"expires_in":"1h"}"#);
    assert_eq!(status, 429);
}

#[test]
fn a_name_that_is_too_long_for_requests_is_refused() {
    let mut server = Server::start("[limits]\nname_length = 3\n");
    server.configure("[semaphores]\nABCD = 1\n[limits]\nname_length = 4\n");
    let outcome = by_http(&mut server);
    assert!(outcome.starts_with("422 ") && outcome.contains("\"ABCD\""), "{outcome}");
}

#[test]
fn a_file_that_did_not_exist_at_the_start_is_read() {
    let mut server = Server::start("");
    std::fs::remove_file(server.directory.path().join("throttle.toml")).unwrap();
    assert!(by_http(&mut server).starts_with("422 "));
    server.configure(A);
    assert!(by_http(&mut server).starts_with("200 "));
    assert_eq!(server.request("GET", "/remainder?semaphore=A", "").1, "1");
}

/// So that an alert on the metrics finds a refused reload.
#[test]
fn the_outcomes_of_reloads_are_counted_whoever_asked_for_them() {
    for reload in WAYS {
        let mut server = Server::start(A);
        let samples = |server: &Server| {
            let text = server.request("GET", "/metrics", "").1;
            let lines = text.lines().filter(|line| {
                line.starts_with("throttle_reloads")
                    || line.starts_with("throttle_last_reload_success")
            });
            lines.map(|line| line.rsplit_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        // Whether the last one succeeded, how many were applied, how many were refused.
        assert_eq!(samples(&server), ["1", "0", "0"]);
        server.configure("[semaphores");
        reload(&mut server);
        assert_eq!(samples(&server), ["0", "0", "1"]);
        server.configure(A);
        reload(&mut server);
        assert_eq!(samples(&server), ["1", "1", "1"]);
        let text = server.request("GET", "/metrics", "").1;
        assert!(text.contains("\nthrottle_last_reload_timestamp_seconds 1"), "{text}");
    }
}
