//! Unix sockets, and sockets of a service manager.
#![cfg(unix)]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::support::{Server, directory, request, run, text, throttle};

/// Requests `/health` over a Unix socket.
fn health(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn check_health(address: &str) -> Output {
    run(TempDir::new().unwrap().path(), &["--check-health", "--address", address])
}

#[test]
fn a_server_can_listen_on_a_unix_socket() {
    let directory = directory("[semaphores]\nA = 1");
    let path = directory.path().join("throttle.sock");
    let address = format!("unix:{}", path.display());
    let mut command = throttle(directory.path());
    command.args(["--address", &address]);
    let mut server = Server::spawn(directory, command);
    assert!(server.log.contains(&format!("listening address={address}\n")), "{}", server.log);
    assert!(health(&path).ends_with("\r\n\r\nOk"));
    let check = check_health(&address);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));

    let second = run(TempDir::new().unwrap().path(), &["--address", &address]);
    assert_eq!(second.status.code(), Some(1));
    let error = format!("error: cannot listen on {address}: another program listens on it\n");
    assert!(text(&second.stderr).ends_with(&error), "{}", text(&second.stderr));
    assert!(health(&path).ends_with("\r\n\r\nOk"), "the first one is not disturbed");

    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists());
    let check = check_health(&address);
    assert_eq!(check.status.code(), Some(1));
    let error = format!("error: no health at {address}: ");
    assert!(text(&check.stderr).starts_with(&error), "{}", text(&check.stderr));
}

#[test]
fn a_socket_without_a_file_name_is_refused() {
    let output = run(TempDir::new().unwrap().path(), &["--address", "unix:"]);
    assert_eq!(output.status.code(), Some(1));
    let error = "error: cannot listen on unix:: the file of the socket has no name\n";
    assert!(text(&output.stderr).ends_with(error), "{}", text(&output.stderr));
}

#[test]
fn the_socket_file_of_a_killed_server_is_replaced() {
    let directory = directory("");
    let path = directory.path().join("throttle.sock");
    let address = format!("unix:{}", path.display());
    let start = || {
        let mut command = throttle(path.parent().unwrap());
        command.args(["--address", &address]);
        Server::spawn(TempDir::new().unwrap(), command)
    };
    // It is killed, so it cannot remove the file.
    drop(start());
    assert!(path.exists());
    let _server = start();
    assert!(health(&path).ends_with("\r\n\r\nOk"));
}

/// The command that starts a server in the directory as systemd does, with this socket.
fn activation(directory: &Path, socket: OwnedFd) -> Command {
    let binary = throttle(directory).get_program().to_owned();
    let mut shell = Command::new("sh");
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" 3<&0 </dev/null"#;
    shell.current_dir(directory).args(["-c", script]).arg(binary).stdin(Stdio::from(socket));
    shell
}

/// A server that systemd started with this socket.
fn activated(socket: OwnedFd) -> Server {
    let directory = directory("");
    let command = activation(directory.path(), socket);
    Server::spawn(directory, command)
}

#[test]
fn a_socket_that_cannot_accept_connections_is_refused() {
    let directory = TempDir::new().unwrap();
    let (one, _other) = UnixStream::pair().unwrap();
    let output = activation(directory.path(), one.into()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = "error: cannot listen on the sockets of the service manager: ";
    assert!(text(&output.stderr).contains(error), "{}", text(&output.stderr));
}

#[test]
fn the_sockets_of_a_service_manager_are_listened_on_in_place_of_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = activated(listener.into());
    assert_eq!(server.address, address);
    assert_eq!(request(address, "GET", "/health", ""), (200, "Ok".to_owned()));

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("throttle.sock");
    let mut server = activated(UnixListener::bind(&path).unwrap().into());
    assert!(health(&path).ends_with("\r\n\r\nOk"));
    server.signal("TERM");
    server.wait();
    assert!(path.exists(), "it belongs to the service manager");
}
