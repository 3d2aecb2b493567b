//! The requests that the client sends.

use std::{collections::BTreeMap, time::Duration};

use axum::http::{HeaderValue, header};
use throttle_client::{Client, Code, Error, Labels, Restore, RetryPolicy};
use tokio::time::timeout;

use crate::scripted_server::{Cut, LEASE, Server, answer, client, json, text};

/// One request for each route of the interface.
#[tokio::test]
async fn every_method_asks_for_its_route() {
    let server = Server::start([]).await;
    let client = client(&server.url()).retry(RetryPolicy::none()).build().unwrap();
    let restore = Restore {
        expires_in: LEASE,
        peer_id: 42,
        acquired: BTreeMap::from([("A".to_owned(), 3), ("B".to_owned(), 1)]),
        labels: Labels::new(),
        sequence: None,
    };
    let minute = Duration::from_secs(60);

    // The answers are not what the methods expect, but the requests are complete.
    client.new_peer(LEASE).await.unwrap_err();
    client.new_peer(LEASE).labels([("host", "w7"), ("job", "nightly")]).await.unwrap_err();
    client.heartbeat(42, LEASE).await.unwrap_err();
    client.remove_peer(42).await.unwrap_err();
    client.acquire(42, "A", 3).await.unwrap_err();
    client.acquire(42, "A", 3).block_for(minute).expires_in(LEASE * 5).await.unwrap_err();
    client.release(42, "A").await.unwrap_err();
    client.is_acquired(42).await.unwrap_err();
    client.peer(42).await.unwrap_err();
    client.peers().await.unwrap_err();
    client.restore(&restore).await.unwrap_err();
    client.remainder("A").await.unwrap_err();
    client.semaphores().await.unwrap_err();
    client.semaphore("A").await.unwrap_err();
    client.holder("a/b", 7).await.unwrap_err();
    client.is_held("fencing", u64::MAX).await.unwrap_err();
    client.health().await.unwrap_err();
    client.ready().await.unwrap_err();
    client.version().await.unwrap_err();
    client.metrics().await.unwrap_err();
    client.reload().await.unwrap_err();

    assert_eq!(
        server.lines(),
        [
            r#"POST /new_peer {"expires_in":"1m"}"#,
            r#"POST /new_peer {"expires_in":"1m","labels":{"host":"w7","job":"nightly"}}"#,
            r#"PUT /peers/42 {"expires_in":"1m"}"#,
            "DELETE /peers/42?sequence=N",
            "PUT /peers/42/A?sequence=N 3",
            "PUT /peers/42/A?expires_in=5m&sequence=N&block_for=1m 3",
            "DELETE /peers/42/A?sequence=N",
            "GET /peers/42/is_acquired",
            "GET /peers/42",
            "GET /peers/",
            concat!(
                r#"POST /restore {"expires_in":"1m","peer_id":42,"acquired":{"A":3,"B":1},"#,
                r#""sequence":N}"#
            ),
            "GET /remainder?semaphore=A",
            "GET /semaphores",
            "GET /semaphores/A",
            "GET /semaphores/a%2Fb/fencing/7",
            "GET /semaphores/fencing/fencing/18446744073709551615",
            "GET /health",
            "GET /ready",
            "GET /version",
            "GET /metrics",
            "POST /admin/reload",
        ]
    );
    for received in server.received() {
        let accepted: Vec<_> = received.headers.get_all(header::ACCEPT).iter().collect();
        let json = (received.target == "/ready").then_some("application/json");
        assert_eq!(accepted, Vec::from_iter(["application/problem+json"].into_iter().chain(json)));
        let is_json =
            received.headers.get(header::CONTENT_TYPE).is_some_and(|it| it == "application/json");
        assert_eq!(is_json, !received.body.is_empty(), "{}", received.line());
    }
}

/// D5. The server can refuse late requests by their sequence numbers.
#[tokio::test]
async fn requests_about_locks_have_rising_sequence_numbers_and_keep_them_when_repeated() {
    let script = [Cut, text(200, "Ok"), json(202, "42"), Cut, text(200, "Ok")];
    let server = Server::start(script).await;
    let client = server.client();
    client.release(42, "A").await.unwrap();
    let _ = client.acquire(42, "A", 1).await.unwrap();
    client.release(42, "A").await.unwrap();
    let numbers: Vec<_> = server.received().iter().map(|it| it.sequence().unwrap()).collect();
    let [first, again, second, third, third_again] = numbers[..] else { panic!("{numbers:?}") };
    assert_eq!((first, third), (again, third_again));
    assert!(first < second && second < third, "{numbers:?}");
}

#[tokio::test]
async fn a_stale_request_is_sent_again_with_a_higher_sequence_number() {
    let ahead = 1 << 52;
    let stale = || {
        let body = format!(
            r#"{{"type": "urn:throttle:error:stale_request", "title": "Stale request", "status": 409,
                "detail": "Stale request.", "code": "stale_request", "sequence": {ahead}}}"#
        );
        answer(409, "application/problem+json", &body)
    };
    let server = Server::start([stale(), text(200, "Ok"), stale(), json(202, "42")]).await;
    server.client().release(42, "A").await.unwrap();
    let _ = server.client().acquire(42, "A", 1).await.unwrap();
    let numbers: Vec<_> = server.received().iter().map(|it| it.sequence().unwrap()).collect();
    assert_eq!(numbers.len(), 4);
    assert!(numbers[1..].iter().all(|&number| number > ahead), "{numbers:?}");
}

/// Another client has used the highest sequence number.
#[tokio::test]
async fn a_request_is_sent_without_a_sequence_number_if_no_higher_one_is_left() {
    let stale = || {
        let body = r#"{"type": "urn:throttle:error:stale_request", "title": "Stale request",
            "status": 409, "detail": "Stale request.", "code": "stale_request",
            "sequence": 9007199254740991}"#;
        answer(409, "application/problem+json", body)
    };
    let server = Server::start([stale(), text(200, "Ok"), stale(), stale()]).await;
    server.client().release(42, "A").await.unwrap();
    // If a request without a number is refused as stale, something else is wrong.
    let error = server.client().release(42, "A").await.unwrap_err();
    assert_eq!(error.code(), Some(Code::StaleRequest));
    let has_number: Vec<_> = server.received().iter().map(|it| it.sequence().is_some()).collect();
    assert_eq!(has_number, [true, false, true, false]);
}

#[tokio::test]
async fn a_base_url_may_have_a_path_with_or_without_a_slash_at_its_end() {
    for path in ["/throttle", "/throttle/"] {
        let server = Server::start([text(200, "Ok"), text(200, "Ok")]).await;
        let client = client(&(server.url() + path)).build().unwrap();
        client.health().await.unwrap();
        client.release(42, "A").await.unwrap();
        assert_eq!(
            server.lines(),
            ["GET /throttle/health", "DELETE /throttle/peers/42/A?sequence=N"]
        );
    }
}

#[tokio::test]
async fn a_name_is_one_segment_of_the_path_and_one_value_of_the_query() {
    for (name, segment, value) in [
        ("/&", "%2F%26", "%2F%26"),
        (" ", "%20", "+"),
        ("ä", "%C3%A4", "%C3%A4"),
        ("%41", "%2541", "%2541"),
        ("is_acquired", "is_acquired", "is_acquired"),
        ("a/../b", "a%2F..%2Fb", "a%2F..%2Fb"),
        ("?#+", "%3F%23%2B", "%3F%23%2B"),
        ("a\tb\n", "a%09b%0A", "a%09b%0A"),
    ] {
        let server = Server::start([text(200, "Ok"), json(200, "1")]).await;
        server.client().release(42, name).await.unwrap();
        server.client().remainder(name).await.unwrap();
        let expected = [
            format!("DELETE /peers/42/{segment}?sequence=N"),
            format!("GET /remainder?semaphore={value}"),
        ];
        assert_eq!(server.lines(), expected);
    }
}

#[tokio::test]
async fn a_name_that_no_path_can_carry_is_an_error_and_nothing_is_sent() {
    let server = Server::start([]).await;
    let client = server.client();
    for name in ["", ".", ".."] {
        let errors = [
            client.acquire(42, name, 1).await.unwrap_err(),
            client.release(42, name).await.unwrap_err(),
            client.semaphore(name).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::InvalidName { name: it, .. } if it == name));
        }
    }
    assert!(server.lines().is_empty());
}

/// Time is paused, so any pause before another attempt takes longer than a millisecond.
#[tokio::test(start_paused = true)]
async fn a_name_too_long_for_any_url_is_an_error_at_once() {
    let client = client("http://localhost").retry(RetryPolicy::default()).build().unwrap();
    let name = "x".repeat(100_000);
    let release = timeout(Duration::from_millis(1), client.release(42, &name));
    let error = release.await.expect("no pause").unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap();
    let message = format!("{error}: {cause}");
    assert!(message.contains("too long") && !message.contains("xxx"), "{message}");
}

#[tokio::test]
async fn headers_of_the_program_are_sent_with_every_request() {
    let server = Server::start([text(503, ""), text(200, "Ok")]).await;
    let mut token = HeaderValue::from_static("Bearer secret");
    token.set_sensitive(true);
    let builder = client(&server.url()).header(header::AUTHORIZATION, token);
    let client = builder.clone().build().unwrap();
    client.heartbeat(42, LEASE).await.unwrap();
    assert_eq!(server.received().len(), 2);
    assert!(
        server.received().iter().all(|it| it.headers[header::AUTHORIZATION] == "Bearer secret")
    );

    let shown = format!("{builder:?} {client:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn clones_share_and_reuse_a_connection() {
    let server = Server::start([(); 4].map(|()| text(200, "Ok"))).await;
    let client = Client::new(server.url()).unwrap();
    for _ in 0..4 {
        client.clone().heartbeat(42, LEASE).await.unwrap();
    }
    assert_eq!((server.received().len(), server.connections()), (4, 1));
}
