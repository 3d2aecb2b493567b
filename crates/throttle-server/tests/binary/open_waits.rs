//! The limit of requests that wait.

use crate::support::Server;

const LIMITED: &str = "[semaphores]\nA = 1\n[limits]\nopen_waits = 1\n";

fn metric(server: &Server, name: &str) -> String {
    let metrics = server.request("GET", "/metrics", "").1;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).to_owned()
}

#[test]
fn beyond_the_limit_a_request_is_answered_202_soon_and_keeps_its_place() {
    let mut server = Server::start(LIMITED);
    assert_eq!(server.wait_for_lock("A").answer().0, 200);
    let patient = server.wait_for_lock("A");
    while server.waiters("A") < 1 {}
    assert_eq!(server.wait_for_lock("A").answer().0, 202);
    let line = server.wait_for("limit of open waits");
    assert!(line.contains("WARN") && line.contains("requests=1"), "{line}");
    assert_eq!(server.waiters("A"), 2);
    assert_eq!(metric(&server, "throttle_open_waits"), "1");
    assert_eq!(metric(&server, "throttle_open_waits_limit"), "1");
    assert_eq!(metric(&server, "throttle_waits_cut_short_total"), "1");

    server
        .configure(&LIMITED.replace("open_waits = 1", "open_waits = 5").replace("A = 1", "A = 2"));
    assert_eq!(server.request("POST", "/admin/reload", "").0, 200);
    assert_eq!(metric(&server, "throttle_open_waits_limit"), "5");
    assert_eq!(patient.answer().0, 200);
}

#[test]
fn by_default_one_in_eight_connections_is_for_other_requests() {
    let server = Server::start("[limits]\nconnections = 80\n");
    assert_eq!(metric(&server, "throttle_open_waits_limit"), "70");
}
