//! Which redirects are followed, how many, and with which headers.

use std::time::Duration;

use axum::{
    Router,
    http::{StatusCode, header},
    response::Redirect,
};
use throttle_client::{Error, RetryPolicy};

use crate::scripted_server::{
    LEASE, NoAnswer, Reaction, Received, Server, client, json, serve, text,
};

fn redirect(status: u16, location: &str) -> Reaction {
    text(status, "moved").with(header::LOCATION, location)
}

#[tokio::test]
async fn redirects_that_keep_the_method_are_followed_with_method_query_and_body() {
    for status in [307, 308] {
        let target = Server::start([json(202, "42")]).await;
        let location = format!("{}/other/peers/42/A?block_for=1s", target.url());
        let server = Server::start([redirect(status, &location)]).await;
        let client = server.client();
        let _ = client.acquire(42, "A", 3).block_for(Duration::from_secs(1)).await.unwrap();
        assert_eq!(server.lines(), ["PUT /peers/42/A?sequence=N&block_for=1s 3"]);
        assert_eq!(target.lines(), ["PUT /other/peers/42/A?block_for=1s 3"]);
    }
}

#[tokio::test]
async fn a_redirect_within_the_server_may_be_relative() {
    for (location, expected) in [
        ("/b/health", "GET /b/health"),
        ("b/health", "GET /a/b/health"),
        ("?x=y", "GET /a/health?x=y"),
        ("/b#fragment", "GET /b"),
    ] {
        let server = Server::start([redirect(308, location), text(200, "Ok")]).await;
        client(&format!("{}/a", server.url())).build().unwrap().health().await.unwrap();
        assert_eq!(server.lines(), ["GET /a/health", expected]);
    }
}

/// Each of them is final, and the error names its location.
#[tokio::test]
async fn other_redirects_are_not_followed_and_name_their_location() {
    for (status, location) in [
        (300, "/elsewhere"),
        (301, "https://host/throttle/peers/42"),
        (302, "/login"),
        (303, "/elsewhere"),
        (304, "/elsewhere"),
        (307, "ftp://host/"),
        (308, "http://"),
        (308, "unix:/run/throttle.sock"),
    ] {
        let server = Server::start([redirect(status, location)]).await;
        let error = server.client().heartbeat(42, LEASE).await.unwrap_err();
        let text = error.to_string();
        let Error::UnexpectedAnswer { status: found, location: Some(shown), .. } = error else {
            panic!("{status} {location}: {error:?}")
        };
        assert_eq!((found, shown.as_str()), (status, location));
        assert!(text.contains(&format!("leads to {location:?}")), "{text}");
        assert_eq!(server.lines().len(), 1, "{status} {location}");
    }
    let server = Server::start([text(308, "")]).await;
    let error = server.client().heartbeat(42, LEASE).await.unwrap_err();
    assert!(matches!(error, Error::UnexpectedAnswer { status: 308, location: None, .. }));
}

#[tokio::test]
async fn a_circle_of_redirects_ends_after_ten() {
    let server = Server::start((0..100).map(|_| redirect(307, "/peers/42"))).await;
    let error = server.client().heartbeat(42, LEASE).await.unwrap_err();
    assert!(matches!(error, Error::UnexpectedAnswer { status: 307, .. }), "{error:?}");
    assert_eq!(server.lines().len(), 11);
}

#[tokio::test]
async fn headers_and_tokens_are_not_sent_to_another_server_after_a_redirect() {
    let target = Server::start([text(200, "Ok")]).await;
    let location = target.url().replace("http://", "http://eve:pw@") + "/peers/42";
    let script = [redirect(307, "/moved"), redirect(307, &location)];
    let server = Server::start(script).await;
    let client = client(&server.url()).header("x-api-key", "secret").bearer_token("secret");
    client.build().unwrap().heartbeat(42, LEASE).await.unwrap();

    let secrets = |received: &Received| {
        ["authorization", "x-api-key"].map(|name| received.headers.contains_key(name))
    };
    assert_eq!(server.received().iter().map(secrets).collect::<Vec<_>>(), [[true; 2]; 2]);
    let received = target.received();
    assert_eq!(received.iter().map(secrets).collect::<Vec<_>>(), [[false; 2]]);
    assert_eq!(received[0].headers[header::ACCEPT], "application/problem+json");
    assert_eq!(received[0].headers[header::CONTENT_TYPE], "application/json");
}

#[tokio::test]
async fn credentials_of_a_url_are_not_sent_to_another_server_after_a_redirect() {
    let target = Server::start([text(200, "Ok")]).await;
    let server = Server::start([redirect(308, &format!("{}/health", target.url()))]).await;
    let url = server.url().replace("http://", "http://ann:secret@");
    client(&url).build().unwrap().health().await.unwrap();
    assert!(server.received()[0].headers.contains_key(header::AUTHORIZATION));
    assert!(!target.received()[0].headers.contains_key(header::AUTHORIZATION));
}

#[tokio::test]
async fn the_error_names_the_redirect_target_that_did_not_answer() {
    let target = Server::start([NoAnswer]).await;
    let server = Server::start([redirect(307, &target.url())]).await;
    let client = client(&server.url()).retry(RetryPolicy::none());
    let client = client.timeout(Duration::from_millis(50)).build().unwrap();
    let error = client.heartbeat(42, LEASE).await.unwrap_err();
    let Error::Timeout { endpoint, .. } = &error else { panic!("{error:?}") };
    assert_eq!(endpoint.url(), target.url());
    let expected =
        format!("no answer in time from {}, redirected by {}", target.url(), server.url());
    assert_eq!(error.to_string(), expected);
}

/// Each redirect is answered in time, but together they take longer than the timeout.
#[tokio::test]
async fn all_redirects_share_one_timeout() {
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Redirect::temporary("/health")
    };
    let (address, _) = serve(Router::new().fallback(slow)).await;
    let client = client(&format!("http://{address}")).timeout(Duration::from_millis(100));
    let error = client.build().unwrap().health().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_refusal_behind_a_redirect_is_a_refusal() {
    let target = Server::start([text(400, "Unknown peer")]).await;
    let server = Server::start([redirect(307, &target.url())]).await;
    let error = server.client().heartbeat(42, LEASE).await.unwrap_err();
    assert_eq!(error.code(), Some(throttle_client::Code::UnknownPeer));
    let status = StatusCode::BAD_REQUEST.as_u16();
    assert!(matches!(error, Error::Refused { status: it, .. } if it == status));
}
