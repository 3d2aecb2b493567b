//! Bodies that are not JSON, have an unexpected type, or are not declared as JSON.

use axum::{
    body::Body,
    http::{Method, Request},
};
use throttle_wire::Code;

use crate::support::{Server, check_refusal, request};

#[tokio::test(start_paused = true)]
async fn a_body_must_be_declared_as_json() {
    let server = Server::start(&[]);
    let ask = async |content_type: Option<&str>| {
        let mut request = Request::post("/new_peer");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        server.send(request.body(Body::from(r#"{"expires_in":"1m"}"#)).unwrap()).await
    };
    for json in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/vnd.throttle.v1+json",
    ] {
        assert_eq!(ask(Some(json)).await.status, 200, "{json}");
    }
    let others = ["text/plain", "application/jsonx", "json", "", "text/json", "image/svg+json"];
    for other in others.map(Some).into_iter().chain([None]) {
        ask(other).await.is_text(
            415,
            "The body must be JSON, declared by the header `Content-Type: application/json`.",
        );
    }
    let detail = "The body must be JSON, declared by the header `Content-Type: application/json`.";
    let undeclared = (Method::POST, "/new_peer", "");
    check_refusal(&server, undeclared, Code::UnsupportedMediaType, detail).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_json_is_refused_with_line_and_column() {
    let server = Server::start(&[]);
    let cases = [
        ("{", "it ends too early in line 1, column 1"),
        (" ", "it ends too early in line 1, column 1"),
        ("{\n  \"expires_in\": 5m}", "there is a mistake in line 2, column 18"),
        ("{\"expires_in\":\"5m\"} x", "there is a mistake in line 1, column 21"),
        ("nonsense", "there is a mistake in line 1, column 2"),
        ("{'expires_in':'5m'}", "there is a mistake in line 1, column 2"),
        ("NaN", "there is a mistake in line 1, column 1"),
        ("01", "there is a mistake in line 1, column 2"),
    ];
    for (body, what) in cases {
        let detail = format!("The body is not JSON: {what}.");
        let request = (Method::POST, "/new_peer", body);
        check_refusal(&server, request, Code::MalformedBody, &detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_type_is_refused_with_the_expected_one() {
    let server = Server::start(&[("A", 1, 0)]);
    for body in ["[]", "5", "null", "\"5m\"", "true"] {
        let detail =
            format!("The body must be a JSON object with the field `expires_in`. Found: {body}.");
        for path in ["/new_peer", "/restore"] {
            let request = (Method::POST, path, body);
            check_refusal(&server, request, Code::InvalidField, &detail).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_or_missing_field_is_named() {
    let server = Server::start(&[("A", 1, 0)]);
    let duration = "a duration such as \"5m\", \"1h 30m\" or \"100ms\"";
    let new_peer = [
        ("{}", "`expires_in` is missing.".to_owned()),
        ("{\"Expires_in\":\"5m\"}", "`expires_in` is missing.".to_owned()),
        ("{\"expires_in\":5}", format!("`expires_in` must be {duration}. Found: 5.")),
        ("{\"expires_in\":null}", format!("`expires_in` must be {duration}. Found: null.")),
        ("{\"expires_in\":\"soon\"}", format!("`expires_in` must be {duration}. Found: \"soon\".")),
        ("{\"expires_in\":\"\"}", format!("`expires_in` must be {duration}. Found: \"\".")),
        (
            "{\"expires_in\":\"\\ud800\"}",
            format!("`expires_in` must be {duration}. Found: \"\\ud800\"."),
        ),
        (
            "{\"expires_in\":\"1m\",\"expires_in\":\"1h\"}",
            "The body has `expires_in` twice.".to_owned(),
        ),
        (
            "{\"expires_in\":\"1m\",\"labels\":[\"a\"]}",
            "`labels` must be an object whose values are strings. Found: [\"a\"].".to_owned(),
        ),
        (
            "{\"expires_in\":\"1m\",\"labels\":{\"a\":1}}",
            "`labels` must be an object whose values are strings. Found: 1.".to_owned(),
        ),
        (
            "{\"expires_in\":\"1m\",\"labels\":{\"a\":\"1\",\"a\":\"2\"}}",
            "`labels` has \"a\" twice.".to_owned(),
        ),
    ];
    for (body, detail) in new_peer {
        let request = (Method::POST, "/new_peer", body);
        check_refusal(&server, request, Code::InvalidField, &detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_with_an_unusable_field_is_refused_as_a_whole() {
    let server = Server::start(&[("A", 9, 0)]);
    let id = "`peer_id` must be a positive integer of 64 bits. Found:";
    let count = "The count of \"A\" in `acquired` must be an integer of 64 bits. Found:";
    let cases = [
        (r#""acquired":{}"#, "`peer_id` is missing.".to_owned()),
        (r#""peer_id":5"#, "`acquired` is missing.".to_owned()),
        (r#""peer_id":0,"acquired":{}"#, format!("{id} 0.")),
        (r#""peer_id":-5,"acquired":{}"#, format!("{id} -5.")),
        (r#""peer_id":1.5,"acquired":{}"#, format!("{id} 1.5.")),
        (r#""peer_id":"5","acquired":{}"#, format!("{id} \"5\".")),
        (r#""peer_id":18446744073709551616,"acquired":{}"#, format!("{id} 18446744073709551616.")),
        (
            r#""peer_id":5,"acquired":["A"]"#,
            "`acquired` must be an object of semaphores with their counts. Found: [\"A\"]."
                .to_owned(),
        ),
        (r#""peer_id":5,"acquired":{"A":1.5}"#, format!("{count} 1.5.")),
        (r#""peer_id":5,"acquired":{"A":"1"}"#, format!("{count} \"1\".")),
        (r#""peer_id":5,"acquired":{"A":1,"\u0041":2}"#, "`acquired` has \"A\" twice.".to_owned()),
    ];
    for (members, detail) in cases {
        let body = format!(r#"{{"expires_in":"1m",{members}}}"#);
        let request = (Method::POST, "/restore", body.as_str());
        check_refusal(&server, request, Code::InvalidField, &detail).await;
    }
    assert_eq!(server.handle.peer_count().await.unwrap(), 0);
    assert_eq!(server.handle.remainder("A").await, Ok(9));
}

#[tokio::test(start_paused = true)]
async fn a_count_is_an_integer() {
    let server = Server::start(&[("A", 1, 0)]);
    let path = format!("/peers/{}/A", server.join().await);
    for body in ["1.5", "1e0", "\"1\"", "[1]", "{}", "null", "true", "-9223372036854775809"] {
        let detail = format!(
            "The lock count, which is all of the body, must be an integer of 64 bits. Found: {body}."
        );
        let request = (Method::PUT, path.as_str(), body);
        check_refusal(&server, request, Code::InvalidField, &detail).await;
    }
    assert_eq!(server.put(&path, " 1\n").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_are_ignored() {
    let server = Server::start(&[]);
    let body = r#"{"expires_in":"1m","priority":{"high":[1,2,{}]}}"#;
    assert_eq!(server.post("/new_peer", body).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn deep_nesting_is_an_error_and_does_no_harm() {
    let server = Server::start(&[("A", 1, 0)]);
    let path = format!("/peers/{}/A", server.join().await);
    let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(server.put(&path, &open).await.status, 400);
    assert_eq!(server.put(&path, &(open.clone() + &close)).await.status, 422);
    let nested = format!(r#"{{"expires_in":{open}{close}}}"#);
    assert_eq!(server.post("/new_peer", &nested).await.status, 422);
    let objects = r#"{"a":"#.repeat(10_000);
    assert_eq!(server.post("/new_peer", &objects).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_is_malformed() {
    let server = Server::start(&[]);
    let chunks = [Ok("{\"expires"), Err(std::io::Error::other("connection reset"))];
    let mut request = request(Method::POST, "/new_peer", "{}");
    *request.body_mut() = Body::from_stream(futures_util::stream::iter(chunks));
    server.send(request).await.is_text(400, "The body could not be read to its end.");
}
