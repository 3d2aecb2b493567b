//! The messages to systemd, received by a socket in its place.

use std::{os::unix::net::UnixDatagram, time::Duration};

use crate::support::{Server, directory, text, throttle};

/// A server that reports to a service manager.
fn managed(config: &str) -> (Server, UnixDatagram) {
    let directory = directory(config);
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = throttle(directory.path());
    command.env("NOTIFY_SOCKET", path);
    (Server::spawn(directory, command), manager)
}

fn message(manager: &UnixDatagram) -> String {
    let mut datagram = [0; 4_096];
    let length = manager.recv(&mut datagram).unwrap();
    text(&datagram[..length])
}

#[test]
fn systemd_receives_start_reload_and_end() {
    let (mut server, manager) = managed("[semaphores]\nA = 1\n");
    let (version, address) = (env!("CARGO_PKG_VERSION"), server.address);
    let status = format!(
        "throttle {version} serves 1 semaphore on http://{address}, with its state in memory"
    );
    assert_eq!(message(&manager), format!("READY=1\nSTATUS={status}\n"));

    server.configure("[semaphores]\nA = 2\nB = 1\n");
    server.signal("HUP");
    let begin = message(&manager);
    let begun = begin.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&begin);
    assert!(begun.trim().parse::<u64>().unwrap() > 0);
    let status =
        "configuration reloaded: 1 semaphores added, 1 changed, 0 removed, 0 retired, 0 deferred";
    assert_eq!(message(&manager), format!("READY=1\nERRNO=0\nSTATUS={status}\n"));

    server.signal("TERM");
    assert_eq!(message(&manager), "STOPPING=1\nSTATUS=shutting down\n");
    assert!(server.wait().success());
}

/// systemd takes each line for a message, and a configuration could contain any text.
#[test]
fn a_refused_reload_is_reported_in_one_line() {
    let (server, manager) = managed("[semaphores]\nA = 1\n");
    message(&manager);
    server.configure("[semaphores]\nA = 0\nB = 0\n\"\\nSTOPPING=1\" = \"\\nREADY=1\"\n");
    server.signal("HUP");
    assert!(message(&manager).starts_with("RELOADING=1\n"));
    let refusal = message(&manager);
    let lines = refusal.lines().collect::<Vec<_>>();
    let [ready, error, status] = lines[..] else { panic!("{refusal}") };
    assert_eq!((ready, error), ("READY=1", "ERRNO=22"));
    assert!(status.starts_with("STATUS=reload refused, nothing changed: throttle.toml:2:5: "));
    assert!(status.contains("throttle.toml:3:5: "), "{status}");
}
