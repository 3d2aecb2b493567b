//! Proxies that the environment sets.
//!
//! The environment belongs to the process, so each test starts another process.

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
};

use axum::http::header::LOCATION;
use throttle_client::{Client, RetryPolicy, http_client_builder};

use crate::scripted_server::{Server, text};

/// The health of the server at `url`, as seen by another process with these variables about proxies and no
/// others.
fn health_seen_with(variables: &[(&str, &str)], url: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "proxies::report_health"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.envs(variables.iter().copied()).env(SERVER, url);
    let output = command.output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let (_, report) = output.split_once(REPORT).unwrap_or_else(|| panic!("{output}"));
    report.lines().next().unwrap().to_owned()
}

const SERVER: &str = "THROTTLE_CLIENT_TEST_SERVER";
/// Set for an HTTP client of the program's own without a proxy.
const DIRECT: &str = "THROTTLE_CLIENT_TEST_DIRECT";
const REPORT: &str = "the server is ";

#[tokio::test]
#[ignore = "not a test of its own: the other tests of this file run it in a child process"]
#[expect(clippy::print_stdout, reason = "this is read by the test that started the process")]
async fn report_health() {
    let url = std::env::var(SERVER).unwrap();
    let client = Client::builder(url).retry(RetryPolicy::none());
    let client = match std::env::var_os(DIRECT) {
        Some(_) => client.http_client(http_client_builder().no_proxy().build().unwrap()),
        None => client,
    };
    let client = client.build().unwrap();
    match client.health().await {
        Ok(()) => println!("{REPORT}healthy"),
        Err(error) => println!("{REPORT}lost: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_used_except_for_excepted_hosts() {
    let proxy = Server::start([text(200, "Ok"), text(200, "Ok")]).await;
    let url = "http://throttle.invalid:8000";
    assert_eq!(health_seen_with(&[("http_proxy", &proxy.url())], url), "healthy");
    assert_eq!(health_seen_with(&[("ALL_PROXY", &proxy.url())], url), "healthy");
    assert_eq!(proxy.lines(), ["GET http://throttle.invalid:8000/health"; 2]);

    let server = Server::start([text(200, "Ok")]).await;
    let variables = [("http_proxy", proxy.url()), ("no_proxy", "127.0.0.1".to_owned())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(health_seen_with(&variables, &server.url()), "healthy");
    assert_eq!(server.lines(), ["GET /health"]);
}

#[test]
fn an_error_names_an_unreachable_proxy_without_its_password() {
    let address = unused_address();
    let variables = [("http_proxy", &*format!("http://ann:secret@{address}"))];
    let seen = health_seen_with(&variables, "http://127.0.0.1:1/throttle/");
    let expected = format!(
        "lost: cannot connect to http://127.0.0.1:1/throttle through the proxy http://{address}"
    );
    assert_eq!(seen, expected);
}

#[test]
fn an_error_names_no_proxy_that_the_program_does_not_use() {
    let (url, proxy) =
        (format!("http://{}", unused_address()), format!("http://{}", unused_address()));
    let seen = health_seen_with(&[("http_proxy", &proxy), (DIRECT, "")], &url);
    assert_eq!(seen, format!("lost: cannot connect to {url}"));
}

/// An address where nothing listens any more.
fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_proxy_that_answers_in_place_of_the_server() {
    let proxy = Server::start([text(407, "who are you?")]).await;
    let seen = health_seen_with(&[("http_proxy", &proxy.url())], "http://throttle.invalid");
    let expected = format!(
        "lost: not an answer of Throttle: status 407 from http://throttle.invalid through the proxy \
         {}, body \"who are you?\"",
        proxy.url()
    );
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_proxy_also_behind_a_redirect() {
    let redirect = text(307, "").with(LOCATION, "http://ann:secret@other.invalid/health");
    let proxy = Server::start([redirect, text(407, "")]).await;
    let seen = health_seen_with(&[("http_proxy", &proxy.url())], "http://throttle.invalid");
    let expected = format!(
        "lost: not an answer of Throttle: status 407 from http://other.invalid through the proxy \
         {}, redirected by http://throttle.invalid, body \"\"",
        proxy.url()
    );
    assert_eq!(seen, expected);
    let requests = ["throttle", "other"].map(|host| format!("GET http://{host}.invalid/health"));
    assert_eq!(proxy.lines(), requests);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_a_socket_is_reached_without_a_proxy() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("throttle.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let router = axum::Router::new().fallback(async || "Ok");
    tokio::spawn(async { axum::serve(listener, router).await });
    let proxy = Server::start([]).await;
    let seen =
        health_seen_with(&[("all_proxy", &proxy.url())], &format!("unix:{}", path.display()));
    assert_eq!((seen.as_str(), proxy.lines().len()), ("healthy", 0));
}
