//! The end of a server.
#![cfg(unix)]

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::Server;

#[expect(clippy::disallowed_methods, reason = "the test measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_thousand_blocked_requests_are_answered_within_a_second() {
    let mut server = Server::start("[semaphores]\nA = 1\n");
    assert_eq!(server.wait_for_lock("A").answer().0, 200);
    let waiting = (0..1_000).map(|_| server.wait_for_lock("A")).collect::<Vec<_>>();
    while server.waiters("A") < 1_000 {}
    let before = now();
    server.signal("TERM");
    let status = server.wait();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert_eq!(status.code(), Some(0), "{}", server.log);
    for request in waiting {
        assert_eq!(request.answer().0, 202);
    }
    assert!(server.log.contains("shutting down") && server.log.contains("stopped"));
}

#[test]
fn ctrl_c_ends_the_server_too() {
    let mut server = Server::start("");
    let _idle = TcpStream::connect(server.address).unwrap();
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
}

/// Half of a request, for which the server waits before it ends.
fn half_a_request(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let half = b"POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        content-length: 99\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(half).unwrap();
    // The server asks for the body, so it has received the head.
    std::io::Read::read_exact(&mut stream, &mut [0; 25]).unwrap();
    stream
}

#[test]
fn half_a_request_delays_the_end_for_less_than_a_second() {
    let mut server = Server::start("");
    let _half = half_a_request(&server);
    let before = now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut server = Server::start("");
    let _half = half_a_request(&server);
    server.signals(&["TERM", "INT"]);
    server.wait();
    assert!(server.log.contains("stopped at once"), "{}", server.log);
}
