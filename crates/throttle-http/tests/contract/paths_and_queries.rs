//! Ids in paths, and query strings: what is ignored, what is refused, and with which sentence.

use axum::http::Method;
use throttle_wire::Code;

use crate::support::{Server, check_refusal};

#[tokio::test(start_paused = true)]
async fn the_id_of_a_peer_is_an_unsigned_integer() {
    let server = Server::start(&[("A", 1, 0)]);
    let detail = "The path must have the id of a peer, an integer of 64 bits, behind `/peers/`.";
    for id in ["ann", "-1", "+1", "1.0", "0x10", "%20", "18446744073709551616", "1e3"] {
        let path = format!("/peers/{id}");
        let lock = format!("/peer/{id}/A");
        for request in [
            (Method::GET, path.as_str(), ""),
            (Method::DELETE, &path, ""),
            (Method::PUT, &path, r#"{"expires_in":"1m"}"#),
            (Method::PUT, &lock, "1"),
        ] {
            check_refusal(&server, request, Code::MalformedPath, detail).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_query_and_unknown_parameters_are_ignored() {
    let server = Server::start(&[("A", 1, 0)]);
    let peer = server.join().await;
    for query in ["?", "?&", "?=", "?trace=1&trace=2", "?expires_in=1m&&block_for=1s&"] {
        let answer = server.put(&format!("/peers/{peer}/A{query}"), "1").await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn durations_are_written_as_people_write_them() {
    let server = Server::start(&[("A", 1, 0)]);
    let peer = server.join().await;
    for (written, read) in [
        ("5m", "5m"),
        ("300000ms", "5m"),
        ("1h+30m", "1h 30m"),
        ("1h%2030m", "1h 30m"),
        ("1h30m", "1h 30m"),
        ("2days", "2days"),
    ] {
        let path = format!("/peers/{peer}/A?expires_in={written}");
        assert_eq!(server.put(&path, "1").await.status, 200, "{written}");
        let peer = server.get(&format!("/peers/{peer}")).await.value();
        assert_eq!(peer["expires_in"], read, "{written}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unusable_duration_in_a_query_names_the_parameter() {
    let server = Server::start(&[("A", 1, 0)]);
    let peer = server.join().await;
    for parameter in ["expires_in", "block_for"] {
        for (sent, found) in [
            ("", ""),
            ("5", "5"),
            ("abc", "abc"),
            ("-5m", "-5m"),
            ("5+parsecs", "5 parsecs"),
            ("%00", "\0"),
        ] {
            let detail = format!(
                "`{parameter}` must be a duration such as \"5m\", \"1h 30m\" or \"100ms\". Found: \
                 {found}."
            );
            let path = format!("/peers/{peer}/A?{parameter}={sent}");
            let request = (Method::PUT, path.as_str(), "1");
            check_refusal(&server, request, Code::InvalidField, &detail).await;
        }
    }
    assert_eq!(server.handle.remainder("A").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn an_unusable_sequence_number_names_the_parameter_and_changes_nothing() {
    let server = Server::start(&[("A", 2, 0)]);
    let peer = server.hold("A", 1).await;
    for (sent, found) in [
        ("", ""),
        ("-1", "-1"),
        ("%2B1", "+1"),
        ("1.0", "1.0"),
        ("1e3", "1e3"),
        ("seven", "seven"),
        ("9007199254740992", "9007199254740992"),
        ("99999999999999999999999", "99999999999999999999999"),
    ] {
        let detail =
            format!("`sequence` must be an integer from 0 to 9007199254740991. Found: {found}.");
        for (method, path, body) in [
            (Method::PUT, format!("/peers/{peer}/A?sequence={sent}"), "1"),
            (Method::DELETE, format!("/peers/{peer}/A?sequence={sent}"), ""),
            (Method::DELETE, format!("/peers/{peer}?sequence={sent}"), ""),
        ] {
            let request = (method, path.as_str(), body);
            check_refusal(&server, request, Code::InvalidField, &detail).await;
        }
    }
    for sent in ["-1", "1.0", "null", "\"1\"", "9007199254740992"] {
        let detail =
            format!("`sequence` must be an integer from 0 to 9007199254740991. Found: {sent}.");
        let body =
            format!(r#"{{"expires_in":"1m","peer_id":7,"acquired":{{"A":1}},"sequence":{sent}}}"#);
        let request = (Method::POST, "/restore", body.as_str());
        check_refusal(&server, request, Code::InvalidField, &detail).await;
    }
    assert_eq!(server.handle.remainder("A").await, Ok(1));
    // The greatest sequence number.
    let path = format!("/peers/{peer}/A?sequence=9007199254740991");
    assert_eq!(server.put(&path, "1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_parameter_that_is_given_twice_is_refused() {
    let server = Server::start(&[("A", 1, 0)]);
    let peer = server.join().await;
    let twice = [
        (Method::PUT, format!("/peers/{peer}/A?block_for=1s&block_for=2s"), "block_for"),
        (Method::PUT, format!("/peers/{peer}/A?expires_in=1s&expires%5Fin=1s"), "expires_in"),
        (Method::DELETE, format!("/peers/{peer}/A?sequence=1&sequence=2"), "sequence"),
        (Method::GET, "/remainder?semaphore=A&semaphore=A".to_owned(), "semaphore"),
    ];
    for (method, path, parameter) in twice {
        let detail = format!("The query string has `{parameter}` twice.");
        let body = if method == Method::PUT { "1" } else { "" };
        let request = (method, path.as_str(), body);
        check_refusal(&server, request, Code::MalformedQuery, &detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_not_utf_8_is_malformed() {
    let server = Server::start(&[("A", 1, 0)]);
    let detail = "The query string is not percent-encoded UTF-8.";
    for query in [
        "semaphore=%FF",
        "semaphore=A&other=%C3%28",
        "a+%FF=1&semaphore=A",
        "semaphore=A%",
        "%zz&semaphore=A",
    ] {
        let path = format!("/remainder?{query}");
        let request = (Method::GET, path.as_str(), "");
        check_refusal(&server, request, Code::MalformedQuery, detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_remainder_without_a_semaphore_is_refused() {
    let server = Server::start(&[("A", 1, 0)]);
    for path in ["/remainder", "/remainder?", "/remainder?name=A"] {
        let request = (Method::GET, path, "");
        check_refusal(&server, request, Code::InvalidField, "`semaphore` is missing.").await;
    }
}
