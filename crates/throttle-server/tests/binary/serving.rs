//! What is on the wire: the routes behind a real socket.

use std::path::Path;

use throttle_server::{config::Config, start};
use tokio::task::spawn_blocking;

use crate::support::{Server, request};

/// S15
#[test]
fn a_waiter_whose_connection_breaks_is_passed_over() {
    let server = Server::start("[semaphores]\nA = 1\n");
    let holder = server.new_peer();
    assert_eq!(server.request("PUT", &format!("/peers/{holder}/A"), "1").0, 200);
    let [gone, patient] = [(); 2].map(|()| server.wait_in_line("A"));
    while server.waiters("A") < 2 {}
    drop(gone);
    while !server.request("GET", "/semaphores/A", "").1.contains(r#""parked":true"#) {}
    assert_eq!(server.request("DELETE", &format!("/peers/{holder}/A"), "").0, 200);
    assert_eq!(patient.answer().0, 200);
}

#[test]
fn metrics_are_there_from_the_start_and_follow_what_happens() {
    let server = Server::start("[semaphores]\nA = 3\n\"quo\\\"te\" = 1\n");
    let metric = |name: &str| {
        let metrics = server.request("GET", "/metrics", "").1;
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).to_owned()
    };
    let name = r#"throttle_acquired{semaphore="A"}"#;
    assert_eq!(metric(name), format!("{name} 0"));
    assert_eq!(metric("throttle_num_404"), "throttle_num_404 0");
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
    assert_eq!(get(first.address(), "/remainder?semaphore=A").await.unwrap(), "1");
    assert_eq!(get(second.address(), "/remainder?semaphore=A").await.unwrap(), "2");
    get(first.address(), "/nowhere").await.unwrap();
    let [one, other] = [first.address(), second.address()].map(|address| get(address, "/metrics"));
    assert!(one.await.unwrap().contains("throttle_num_404 1\n"));
    assert!(other.await.unwrap().contains("throttle_num_404 0\n"));

    let refusal = first.reload().await.unwrap_err();
    assert_eq!(refusal.to_string(), "there is no configuration file to read");
    first.stop().await;
    assert_eq!(get(second.address(), "/health").await.unwrap(), "Ok");
    second.stop().await;
}
