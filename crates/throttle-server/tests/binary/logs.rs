//! What the server logs, and where.

use std::{
    io::{BufRead, BufReader},
    net::UdpSocket,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Server, address_in, directory, listening, request, run, text, throttle};

#[test]
fn only_warnings_are_logged_by_default() {
    let empty = directory("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let log = |arguments: &[&str], level: Option<&str>| {
        let mut command = throttle(empty.path());
        command.args(["--port", &port]).args(arguments);
        command.envs(level.map(|level| ("THROTTLE_LOG", level)));
        text(&command.output().unwrap().stderr)
    };
    assert!(!log(&[], None).contains("INFO"));
    assert!(log(&[], Some("info")).contains("INFO"));
    assert!(log(&["--log", "INFO"], Some("off")).contains("INFO"));
    // Deployments of version 0.5 have filters such as these.
    assert!(log(&[], Some("info,tower=warn")).contains("INFO"));
    assert!(!log(&[], Some("info,throttle=warn")).contains("INFO"));
}

#[test]
fn the_environment_has_precedence_over_the_configuration() {
    let directory = directory("[logging.stderr]\nlevel = \"DEBUG\"\nformat = \"json\"");
    let mut command = throttle(directory.path());
    command.args(["--check-config"]);
    let level = |command: &mut std::process::Command| text(&command.output().unwrap().stdout);
    assert!(level(&mut command).contains("stderr: DEBUG"));
    assert!(level(command.env("THROTTLE_LOG", "Error")).contains("stderr: ERROR"));
}

/// People want to know where it listens, and a log collector wants JSON.
#[test]
fn a_start_is_logged_whatever_the_level() {
    let start = |format: &str| {
        let directory = directory(&format!(
            "[semaphores]\nA = 1\nB = 1\n[logging.stderr]\nformat = '{format}'"
        ));
        let mut command = throttle(directory.path());
        let mut child = listening(command.args(["--log", "OFF"]));
        let line = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        line
    };
    let sentence =
        format!("throttle {} serves 2 semaphores on http://127.0.0.1:", env!("CARGO_PKG_VERSION"));
    let line = start("human");
    assert!(line.starts_with(&sentence), "{line}");
    assert!(line.ends_with(", with its state in memory"), "{line}");
    let line: Value = serde_json::from_str(&start("json")).unwrap();
    let fields = &line["fields"];
    assert!(fields["message"].as_str().unwrap().starts_with(&sentence), "{line}");
    assert!(fields["addresses"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{line}");
    assert_eq!(fields["semaphores"], 2);
    assert_eq!(fields["state"], "in memory");
    assert_eq!(fields["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn an_unknown_level_is_an_error_and_not_a_panic() {
    let directory = directory("");
    let output = throttle(directory.path()).env("THROTTLE_LOG", "LOUD").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("unknown level \"LOUD\", expected one of ERROR, WARN"), "{error}");
    assert_eq!(run(directory.path(), &["--log", "", "--check-config"]).status.code(), Some(2));
}

#[test]
fn json_lines_are_json() {
    let mut server = Server::start("[logging.stderr]\nformat = \"json\"");
    server.wait_for("ready");
    let lines = server.log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.collect::<Vec<_>>();
    let listening = lines.iter().find(|line| line["fields"]["message"] == "listening").unwrap();
    assert_eq!(listening["level"], "INFO");
    assert_eq!(listening["fields"]["address"], server.address.to_string());
}

#[test]
fn messages_go_to_graylog_and_to_stderr() {
    let graylog = UdpSocket::bind("127.0.0.1:0").unwrap();
    graylog.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = graylog.local_addr().unwrap().port();
    let config = format!(
        "[logging.gelf]\nname = \"it\"\nhost = \"127.0.0.1\"\nport = {port}\nlevel = \"WARN\""
    );
    let mut server = Server::start(&config);
    server.wait_for("ready");

    let mut datagram = [0; 2_000];
    let length = graylog.recv(&mut datagram).unwrap();
    let message: Value = serde_json::from_slice(&datagram[..length]).unwrap();
    assert_eq!(message["version"], "1.1");
    assert_eq!(message["_logger"], "it");
    assert_eq!(message["level"], 4);
    let short_message = message["short_message"].as_str().unwrap();
    // Each has a level of its own: only the warning goes to Graylog.
    assert!(server.log.contains(short_message) && server.log.contains("listening"));
}

#[cfg(unix)]
#[test]
fn the_last_message_reaches_graylog() {
    let graylog = UdpSocket::bind("127.0.0.1:0").unwrap();
    graylog.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = graylog.local_addr().unwrap().port();
    let mut server = Server::start(&format!("[logging.gelf]\nport = {port}"));
    server.signal("TERM");
    assert!(server.wait().success());
    let mut datagram = [0; 2_000];
    while !{
        let length = graylog.recv(&mut datagram).unwrap();
        text(&datagram[..length]).contains("\"stopped\"")
    } {}
}

/// The collector of the log may end before the server.
#[test]
fn a_log_whose_reader_is_gone_does_no_harm() {
    let directory = directory("");
    let mut child = listening(&mut throttle(directory.path()));
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let listening = lines.map(Result::unwrap).find(|line| line.contains("listening"));
    let address = address_in(&listening.unwrap());
    for _ in 0..3 {
        assert_eq!(request(address, "POST", "/admin/reload", "").0, 200);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_log_that_is_not_read_for_a_while_delays_no_request() {
    let directory = directory("");
    let mut child = listening(throttle(directory.path()).args(["--log", "DEBUG"]));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = address_in(&lines.find(|line| line.contains("listening")).unwrap());
    // Each request is logged in one line: together much more than the pipe and the queue have room for.
    let name = "x".repeat(16_000);
    for number in 0..500 {
        let path = format!("/semaphores/{number}-{name}-");
        assert_eq!(request(address, "GET", &path, "").0, 422);
    }

    let (mut next, mut lost) = (0, None);
    while lost.is_none() {
        let line = lines.next().unwrap();
        lost = line.split_once("log messages were lost lost=").map(|(_, lost)| lost.to_owned());
        // Lines that were not lost are whole and in order.
        if line.contains(&name) {
            assert!(line.contains(&format!("\"{next}-{name}-\"")) && line.contains("answered"));
            next += 1;
        }
    }
    let lost = lost.unwrap();
    assert_eq!(next + lost.parse::<u64>().unwrap(), 500);
    let metric = format!("throttle_log_lines_lost_total{{destination=\"stderr\"}} {lost}\n");
    assert!(request(address, "GET", "/metrics", "").1.contains(&metric));
    assert_eq!(request(address, "GET", "/semaphores/after", "").0, 400);
    assert!(lines.any(|line| line.contains("semaphore=\"after\"")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn a_log_that_is_not_read_does_not_keep_the_server_from_ending() {
    let directory = directory("");
    let mut child = listening(throttle(directory.path()).args(["--log", "DEBUG"]));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = address_in(&lines.find(|line| line.contains("listening")).unwrap());
    let path = format!("/semaphores/{}", "x".repeat(16_000));
    for _ in 0..10 {
        assert_eq!(request(address, "GET", &path, "").0, 422);
    }
    let kill = format!("kill -TERM {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn without_graylog_the_end_is_quick_and_quiet() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Server::start(&format!("[logging.gelf]\nport = {nobody}\nprotocol = \"tcp\""));
    server.signal("TERM");
    assert!(server.wait().success());
    let complaints = server.log.matches("cannot send logs").count();
    assert_eq!(complaints, 1, "{}", server.log);
}
