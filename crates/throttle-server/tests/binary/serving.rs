//! The routes over real sockets.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use throttle_server::{config::Config, start};
use tokio::task::spawn_blocking;

use crate::support::{Server, request};

/// S15
#[test]
fn a_waiter_whose_connection_breaks_is_passed_over() {
    let server = Server::start("[semaphores]\nA = 1\n");
    let holder = server.new_peer();
    assert_eq!(server.request("PUT", &format!("/peers/{holder}/A"), "1").0, 200);
    let [gone, patient] = [(); 2].map(|()| server.wait_for_lock("A"));
    while server.waiters("A") < 2 {}
    drop(gone);
    while !server.request("GET", "/semaphores/A", "").1.contains(r#""parked":true"#) {}
    assert_eq!(server.request("DELETE", &format!("/peers/{holder}/A"), "").0, 200);
    assert_eq!(patient.answer().0, 200);
}

/// No configuration can have these names, because HTTP libraries resolve them as directories.
#[test]
fn semaphores_called_like_directories_are_unknown() {
    let server = Server::start("[semaphores]\nA = 1\n");
    let unknown = (400, "Unknown semaphore".to_owned());
    let peer = server.new_peer();
    for name in [".", "..", "%2e", "%2E%2e"] {
        assert_eq!(server.request("PUT", &format!("/peers/{peer}/{name}"), "1"), unknown, "{name}");
        assert_eq!(server.request("GET", &format!("/semaphores/{name}"), ""), unknown, "{name}");
    }
    let restore = r#"{"expires_in": "1m", "peer_id": 7, "acquired": {"..": 1}}"#;
    assert_eq!(server.request("POST", "/restore", restore), unknown);
}

/// The limit of the HTTP library, which `docs/http.md` documents.
#[test]
fn a_head_has_at_most_a_hundred_fields() {
    let server = Server::start("");
    let status = |fields: usize| {
        let fields = (1..fields).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = format!("GET /health HTTP/1.0\r\nhost: throttle\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(100), "200");
    assert_eq!(status(101), "431");
}

#[test]
fn metrics_exist_from_the_start_and_are_up_to_date() {
    let server = Server::start("[semaphores]\nA = 3\n\"quo\\\"te\" = 1\n");
    let metric = |name: &str| {
        let metrics = server.request("GET", "/metrics", "").1;
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).to_owned()
    };
    let name = r#"throttle_acquired{semaphore="A"}"#;
    assert_eq!(metric(name), format!("{name} 0"));
    assert_eq!(metric("throttle_num_404"), "throttle_num_404 0");
    metric(r#"throttle_log_lines_lost_total{destination="stderr"} 0"#);
    metric(r#"throttle_max{semaphore="quo\"te"} 1"#);
    metric("throttle_start_time_seconds ");
    #[cfg(target_os = "linux")]
    assert_ne!(metric("process_resident_memory_bytes "), "process_resident_memory_bytes 0");
    metric(&format!(r#"throttle_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")));

    let peer = server.new_peer();
    assert_eq!(server.request("PUT", &format!("/peers/{peer}/A"), "2").0, 200);
    assert_eq!(server.request("GET", "/nowhere", "").0, 404);
    assert_eq!(metric(name), format!("{name} 2"));
    assert_eq!(metric("throttle_num_404"), "throttle_num_404 1");
    metric(r#"throttle_wait_seconds_bucket{semaphore="A",le="0.001"} 1"#);
    server.request("DELETE", &format!("/peers/{peer}/A"), "");
    metric(r#"throttle_hold_seconds_count{semaphore="A"} 1"#);
}

#[tokio::test]
async fn two_servers_in_one_process_share_nothing() {
    let config = |text| Config::parse(text, Path::new("it")).unwrap();
    let first = start(("127.0.0.1", 0), config("[semaphores]\nA = 1"), None).await.unwrap();
    let second = start(("127.0.0.1", 0), config("[semaphores]\nA = 2"), None).await.unwrap();
    let get = |address, path| spawn_blocking(move || request(address, "GET", path, "").1);
    let [first_address, second_address] =
        [&first, &second].map(|server| server.addresses()[0].network().unwrap());
    assert_eq!(get(first_address, "/remainder?semaphore=A").await.unwrap(), "1");
    assert_eq!(get(second_address, "/remainder?semaphore=A").await.unwrap(), "2");
    get(first_address, "/nowhere").await.unwrap();
    let [one, other] = [first_address, second_address].map(|address| get(address, "/metrics"));
    assert!(one.await.unwrap().contains("throttle_num_404 1\n"));
    assert!(other.await.unwrap().contains("throttle_num_404 0\n"));

    let refusal = first.reload().await.unwrap_err();
    assert_eq!(refusal.to_string(), "there is no configuration file to read");
    first.stop().await.unwrap();
    assert_eq!(get(second_address, "/health").await.unwrap(), "Ok");
    second.stop().await.unwrap();
}

/// Such errors occur before a route is found, and are like all others: one sentence, and counted.
#[test]
fn requests_that_break_the_rules_of_http_are_answered_and_counted() {
    let server = Server::start("");
    let answer = |request: &str| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    };
    let check = |request: &str, status: &str, body: &str| {
        assert_eq!(answer(request), (status.to_owned(), body.to_owned()));
    };
    check("rubbish\r\n\r\n", "400", "This is no valid HTTP/1.1 request.");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    check(&many, "431", "The head of the request is too large.");
    let large = format!("GET /{} HTTP/1.1\r\nhost: x\r\n", "x".repeat(70_000));
    check(&large, "431", "The head of the request is too large.");
    let nameless = "GET /health HTTP/1.1\r\nconnection: close\r\n";
    let sentence = "An HTTP/1.1 request needs the header `Host`, and no more than one.";
    check(&format!("{nameless}\r\n"), "400", sentence);
    let problem = format!("{nameless}accept: application/problem+json\r\n\r\n");
    assert!(answer(&problem).1.contains(r#""code":"malformed_request""#));

    let metrics = server.request("GET", "/metrics", "").1;
    for line in [
        r#"throttle_refusals_total{code="malformed_request"} 3"#,
        r#"throttle_refusals_total{code="head_too_large"} 2"#,
        r#"throttle_http_requests_total{route="/health",method="GET",status="400"} 2"#,
        r#"throttle_http_requests_total{route="unknown",method="other",status="431"} 2"#,
        "throttle_num_404 0",
    ] {
        assert!(metrics.lines().any(|each| each == line), "no {line} in\n{metrics}");
    }
    // A head that is complete before its size is checked.
    let large = format!("{nameless}host: x\r\na: {}\r\n\r\n", "x".repeat(70_000));
    check(&large, "431", "The head of the request is too large.");
}
