//! More connections than the limit.

use std::net::TcpStream;

use crate::support::Server;
#[cfg(unix)]
use crate::support::{Request, directory, throttle};

const CONFIG: &str = "[semaphores]\nA = 1\n[limits]\nconnections = 3\n";

/// Section 6: holders come first.
#[test]
fn a_holder_keeps_its_lock_while_more_requests_wait_than_the_limit_of_connections() {
    let server = Server::start(CONFIG);
    let holder = server.new_peer();
    assert_eq!(server.request("PUT", &format!("/peers/{holder}/A"), "1").0, 200);
    let mut waiters = (0..3).map(|_| server.wait_for_lock("A")).collect::<Vec<_>>();
    while server.waiters("A") < 3 {}
    let silent = (0..20).map(|_| TcpStream::connect(server.address).unwrap()).collect::<Vec<_>>();

    for _ in 0..20 {
        let lease = r#"{"expires_in":"1h"}"#;
        assert_eq!(server.request("PUT", &format!("/peers/{holder}"), lease).0, 200);
    }
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(server.request("GET", path, "").0, 200);
    }
    drop(silent);
    assert_eq!(server.request("DELETE", &format!("/peers/{holder}/A"), "").0, 200);
    assert_eq!(waiters.remove(0).answer().0, 200, "the lock goes to the first in the queue");
    assert_eq!(server.waiters("A"), 2);
}

#[test]
fn a_shortage_of_connections_can_be_seen_in_log_and_metrics() {
    let mut server = Server::start(CONFIG);
    let _silent = (0..30).map(|_| TcpStream::connect(server.address).unwrap()).collect::<Vec<_>>();
    let evicted = "throttle_evicted_connections_total 0\n";
    let mut metrics = evicted.to_owned();
    while metrics.contains(evicted) {
        metrics = server.request("GET", "/metrics", "").1;
    }
    let line = server.wait_for("connections run short");
    assert!(line.contains("WARN") && line.contains("limit=3"), "{line}");
    let metric = |name: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).parse::<u32>().unwrap()
    };
    assert_eq!(metric("throttle_connections_limit"), 3);
    assert!((1..=67).contains(&metric("throttle_connections")));
    assert!(metric("throttle_evicted_connections_total") > 0);
    assert_eq!(metric("throttle_refused_connections_total"), 0);
}

/// Starts the server after these `ulimit` commands of the shell.
#[cfg(unix)]
fn limited(config: &str, limits: &str) -> Server {
    let directory = directory(config);
    let mut shell = std::process::Command::new("sh");
    let binary = throttle(directory.path()).get_program().to_owned();
    shell
        .current_dir(directory.path())
        .args(["-c", &format!("{limits} && exec \"$0\"")])
        .arg(binary);
    Server::spawn(directory, shell)
}

#[cfg(unix)]
#[test]
fn the_soft_limit_of_open_files_is_raised_and_limits_the_connections() {
    let server = limited("", "ulimit -Sn 100 && ulimit -Hn 500");
    let metrics = server.request("GET", "/metrics", "").1;
    assert!(metrics.contains("throttle_connections_limit 327\n"), "{metrics}");
}

#[cfg(unix)]
#[test]
fn a_limit_of_connections_above_that_of_open_files_is_warned_of() {
    let mut server = limited("limits.connections = 5000", "ulimit -n 100");
    let logged = server.log.clone();
    let line = logged.lines().find(|line| line.contains("limit of open files"));
    let line = line.map_or_else(|| server.wait_for("limit of open files"), str::to_owned);
    assert!(line.contains("5000") && line.contains("100"), "{line}");

    // The server closes the first ones in favour of the later ones.
    let silent = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect::<Vec<_>>();
    assert_eq!(server.request("GET", "/health", ""), (200, "Ok".to_owned()));
    drop(silent);
    let request = Request::send(server.address, "GET", "/health", "");
    assert_eq!(request.answer().0, 200);
}
