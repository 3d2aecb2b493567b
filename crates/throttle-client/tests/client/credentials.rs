//! Which servers receive credentials and secret headers.

use axum::http::header::AUTHORIZATION;
use throttle_client::{Client, Error};

use crate::scripted_server::{Cut, LEASE, Received, Server, client, text};

/// The `Authorization` headers of all requests that a server received.
fn authorizations(server: &Server) -> Vec<String> {
    let values = |received: &Received| {
        let values = received.headers.get_all(AUTHORIZATION).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(", ")
    };
    server.received().iter().map(values).collect()
}

fn with_user(server: &Server, user: &str) -> String {
    server.url().replace("http://", &format!("http://{user}@"))
}

/// `ann:secret`, `bob` and `eve:a@b` in base64.
const ANN: &str = "Basic YW5uOnNlY3JldA==";
const BOB: &str = "Basic Ym9iOg==";
const EVE: &str = "Basic ZXZlOmFAYg==";

#[tokio::test]
async fn credentials_in_a_url_are_sent_to_that_url_only() {
    let [first, second, third] =
        [Server::start([Cut]).await, Server::start([Cut]).await, Server::start([Cut]).await];
    let fourth = Server::start([text(200, "Ok")]).await;
    let client = client(&with_user(&first, "ann:secret"))
        .or_url(second.url())
        .or_url(with_user(&third, "bob"))
        .or_url(with_user(&fourth, "eve:a%40b"));
    client.build().unwrap().heartbeat(42, LEASE).await.unwrap();
    assert_eq!(authorizations(&first), [ANN]);
    assert_eq!(authorizations(&second), [""]);
    assert_eq!(authorizations(&third), [BOB]);
    assert_eq!(authorizations(&fourth), [EVE]);
}

#[tokio::test]
async fn headers_and_the_token_replace_the_credentials_of_every_url() {
    let [first, second] = [Server::start([Cut]).await, Server::start([text(200, "Ok")]).await];
    let client = client(&with_user(&first, "ann:secret"))
        .or_url(second.url())
        .header("X-Team", "old")
        .header("x-team", "blue")
        .bearer_token("token");
    client.build().unwrap().heartbeat(42, LEASE).await.unwrap();
    for server in [first, second] {
        assert_eq!(authorizations(&server), ["Bearer token"]);
        let received = &server.received()[0];
        assert_eq!(received.headers.get_all("x-team").iter().collect::<Vec<_>>(), ["blue"]);
    }
}

#[tokio::test]
async fn errors_and_debug_output_show_no_secrets() {
    let server = Server::start([]).await;
    let builder = client(&with_user(&server, "ann:secret")).header("x-key", "secret");
    let builder = builder.bearer_token("secret");
    let client = builder.clone().build().unwrap();
    let error = client.heartbeat(42, LEASE).await.unwrap_err();
    assert_eq!(client.urls(), [server.url()]);
    let mut shown = format!("{builder:?} {client:?} {error:?} {error}");
    for broken in [
        builder.clone().header("x-other", "secret\n").build(),
        builder.clone().bearer_token("secret\n").build(),
        builder.or_url("http://ann:secret@host:no").build(),
    ] {
        let error = broken.unwrap_err();
        shown += &format!("{error:?} {error}");
    }
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_when_the_client_is_built() {
    let builder = || Client::builder("http://localhost");
    let line_break = "its value has a character that no header can have, such as a line break";
    for (builder, expected) in [
        (
            builder().header("x y", "v"),
            r#"the header "x y" cannot be used: invalid HTTP header name"#,
        ),
        (builder().header("", "v"), r#"the header "" cannot be used: invalid HTTP header name"#),
        (
            builder().header("x", "a\r\nb"),
            &format!(r#"the header "x" cannot be used: {line_break}"#),
        ),
        (builder().bearer_token("t\n"), &format!("the bearer token cannot be used: {line_break}")),
    ] {
        let error = builder.build().unwrap_err();
        assert!(matches!(error, Error::InvalidSetting { .. }), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
}
