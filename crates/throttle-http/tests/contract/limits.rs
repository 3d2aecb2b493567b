//! The limits of requests. Each has its own error.

use std::time::Duration;

use axum::{body::Body, http::Method};
use throttle_http::RequestLimits;
use throttle_runtime::Settings;
use throttle_wire::Code;

use crate::support::{Server, check_refusal, request};

fn server(limits: RequestLimits) -> Server {
    Server::build(&[("A", 1, 0), ("12345678", 1, 0)], Settings::default(), |api| api.limits(limits))
}

#[tokio::test(start_paused = true)]
async fn a_body_has_a_largest_size() {
    let server = server(RequestLimits { body: 40, ..RequestLimits::default() });
    let detail = "The body has at most 40 bytes.";
    let fits = format!("{:<40}", r#"{"expires_in":"1m"}"#);
    assert_eq!(server.post("/new_peer", &fits).await.status, 200);
    let too_large = fits + " ";
    let announced = (Method::POST, "/new_peer", too_large.as_str());
    check_refusal(&server, announced, Code::BodyTooLarge, detail).await;

    // A body of unknown length that never ends.
    let mut endless = request(Method::POST, "/new_peer", "{}");
    let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("          "));
    *endless.body_mut() = Body::from_stream(chunks);
    server.send(endless).await.is_text(413, detail);
}

#[tokio::test(start_paused = true)]
async fn a_name_has_a_greatest_length_in_bytes() {
    let server = server(RequestLimits { name_length: 8, ..RequestLimits::default() });
    let path = format!("/peers/{}", server.join().await);
    assert_eq!(server.put(&format!("{path}/12345678"), "1").await.status, 200);

    let detail = "The name of a semaphore has at most 8 bytes.";
    let lock = format!("{path}/%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4");
    let requests = [
        (Method::PUT, lock.as_str(), "1"),
        (Method::DELETE, &lock, ""),
        (Method::GET, "/semaphores/123456789", ""),
        (Method::GET, "/remainder?semaphore=123456789", ""),
        (Method::POST, "/restore", r#"{"expires_in":"1m","peer_id":7,"acquired":{"123456789":1}}"#),
    ];
    for request in requests {
        check_refusal(&server, request, Code::NameTooLong, detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_has_a_greatest_length() {
    let limit = Duration::from_secs(60);
    let server = server(RequestLimits { expires_in: limit, ..RequestLimits::default() });
    let peer = server.join().await;
    let (path, lock) = (format!("/peers/{peer}"), format!("/peers/{peer}/A?expires_in=61s"));
    let body = r#"{"expires_in":"61s"}"#;
    let requests = [
        (Method::POST, "/new_peer", body),
        (Method::PUT, path.as_str(), body),
        (Method::PUT, &lock, "1"),
        (Method::POST, "/restore", r#"{"expires_in":"61s","peer_id":7,"acquired":{}}"#),
    ];
    for request in requests {
        let detail = "`expires_in` is at most 1m.";
        check_refusal(&server, request, Code::ExpiresInTooLong, detail).await;
    }
    assert_eq!(server.handle.remainder("A").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_a_greatest_length() {
    let limit = Duration::from_secs(60);
    let server = server(RequestLimits { block_for: limit, ..RequestLimits::default() });
    let peer = server.join().await;
    let path = format!("/peers/{peer}/A?block_for=61s");
    let request = (Method::PUT, path.as_str(), "1");
    let detail = "`block_for` is at most 1m.";
    check_refusal(&server, request, Code::BlockForTooLong, detail).await;
    assert_eq!(server.put(&format!("/peers/{peer}/A?block_for=60s"), "1").await.status, 200);
}

/// Such a lease made the old server crash.
#[tokio::test(start_paused = true)]
async fn a_lease_longer_than_any_clock_is_refused_by_default() {
    let server = server(RequestLimits::default());
    let peer = server.join().await;
    for years in ["500000000000y", "31d", "584542046091y", "99999999999999999999999y"] {
        let body = format!(r#"{{"expires_in":"{years}"}}"#);
        let request = (Method::POST, "/new_peer", body.as_str());
        let detail = "`expires_in` is at most 30days.";
        check_refusal(&server, request, Code::ExpiresInTooLong, detail).await;
        let path = format!("/peers/{peer}/A?block_for={years}");
        let request = (Method::PUT, path.as_str(), "1");
        let detail = "`block_for` is at most 1day.";
        check_refusal(&server, request, Code::BlockForTooLong, detail).await;
    }
    assert_eq!(server.post("/new_peer", r#"{"expires_in":"30d"}"#).await.status, 200);
}

/// An application may lift the limits.
#[tokio::test(start_paused = true)]
async fn without_limits_the_longest_duration_does_no_harm() {
    let forever = Duration::MAX;
    let server = server(RequestLimits {
        expires_in: forever,
        block_for: forever,
        ..RequestLimits::default()
    });
    let body = r#"{"expires_in":"584542046091y"}"#;
    let peer: u64 = server.post("/new_peer", body).await.json();
    let path = format!("/peers/{peer}/A?expires_in=584542046091y&block_for=584542046091y");
    assert_eq!(server.put(&path, "1").await.status, 200);
    let waiting = server.join().await;
    server.wait(waiting, "A?block_for=584542046091y").await.abort();
    assert_eq!(server.get(&format!("/peers/{peer}")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn labels_are_limited_in_number_and_length() {
    let server = server(RequestLimits { labels: 2, label_length: 4, ..RequestLimits::default() });
    let fits = r#"{"expires_in":"1m","labels":{"host":"abcd","job":""}}"#;
    assert_eq!(server.post("/new_peer", fits).await.status, 200);

    let number = "A peer has at most 2 labels.";
    let length = "The name and the value of a label have at most 4 bytes each.";
    let cases = [
        (r#"{"a":"","b":"","c":""}"#, number),
        (r#"{"a":"abcde"}"#, length),
        (r#"{"abcde":""}"#, length),
        (r#"{"a":"äää"}"#, length),
    ];
    for (labels, detail) in cases {
        let body = format!(r#"{{"expires_in":"1m","labels":{labels}}}"#);
        let request = (Method::POST, "/new_peer", body.as_str());
        check_refusal(&server, request, Code::LabelsTooLarge, detail).await;
        let body =
            format!(r#"{{"expires_in":"1m","peer_id":7,"acquired":{{}},"labels":{labels}}}"#);
        let request = (Method::POST, "/restore", body.as_str());
        check_refusal(&server, request, Code::LabelsTooLarge, detail).await;
    }
}
