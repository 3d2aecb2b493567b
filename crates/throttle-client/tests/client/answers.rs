//! How the client reads answers, including those of other servers.

use std::{io, time::Duration};

use axum::{body::Body, http::Response};
use futures_util::stream;
use throttle_client::{Admission, Code, Error, RetryPolicy};

use crate::scripted_server::{LEASE, Reaction, Server, answer, client, json, text};

/// The error of a heartbeat with this answer.
async fn heartbeat(answer: Reaction) -> Error {
    let server = Server::start([answer]).await;
    let client = client(&server.url()).retry(RetryPolicy::none()).build().unwrap();
    client.heartbeat(42, LEASE).await.unwrap_err()
}

#[tokio::test]
async fn a_problem_document_is_a_refusal_with_its_code() {
    let body = r#"{
        "type": "urn:throttle:error:unknown_peer", "title": "Unknown peer", "status": 400,
        "detail": "Unknown peer", "code": "unknown_peer"
    }"#;
    for media_type in ["application/problem+json", "Application/Problem+JSON; charset=utf-8"] {
        let error = heartbeat(answer(400, media_type, body)).await;
        assert_eq!(error.code(), Some(Code::UnknownPeer));
        assert_eq!(error.to_string(), "refused with 400 unknown_peer: Unknown peer");
    }
}

/// D10. The memory of a server reaches back to its start at least, whatever a wall clock says.
#[tokio::test]
async fn an_unknown_peer_says_for_how_long_the_server_remembers() {
    for (fields, expected) in [
        ("", None),
        (r#", "uptime": "5s""#, Some(5)),
        (r#", "uptime": "5s", "remembers_for": "1h""#, Some(3_600)),
        (r#", "uptime": "5s", "remembers_for": "0s""#, Some(5)),
        (r#", "remembers_for": "7s", "remembers_for_seconds": 7.0"#, Some(7)),
    ] {
        let body = format!(
            r#"{{"type": "urn:throttle:error:unknown_peer", "title": "Unknown peer", "status": 400,
                "detail": "Unknown peer", "code": "unknown_peer"{fields}}}"#
        );
        let error = heartbeat(answer(400, "application/problem+json", &body)).await;
        let Error::Refused { remembers_for, .. } = error else { panic!("{error:?}") };
        assert_eq!(remembers_for, expected.map(Duration::from_secs), "{fields}");
    }
}

fn problem(status: u16, code: &str) -> Reaction {
    let body = format!(
        r#"{{"type": "urn:throttle:error:{code}", "title": "", "status": {status}, "detail": "",
            "code": "{code}"}}"#
    );
    answer(status, "application/problem+json", &body)
}

#[tokio::test]
async fn only_throttle_itself_can_say_that_a_token_is_not_held() {
    let held = r#"{"semaphore":"A","peer_id":18446744073709551615,"count":2,"fencing_token":7,
        "held_for":"1m","held_for_seconds":60.0,"time_left":"30s","time_left_seconds":30.0,
        "labels":{"job":"nightly"},"since_version_0_9":1}"#;
    let asked = async |reaction| {
        let server = Server::start([reaction]).await;
        let client = client(&server.url()).retry(RetryPolicy::none()).build().unwrap();
        client.holder("A", 7).await
    };
    let holder = asked(json(200, held)).await.unwrap().unwrap();
    assert_eq!((holder.peer_id, holder.count, holder.fencing_token), (u64::MAX, 2, 7));
    assert_eq!((holder.time_left, &*holder.labels["job"]), (Duration::from_secs(30), "nightly"));

    assert_eq!(asked(problem(404, "not_held")).await.unwrap(), None);
    for reaction in [
        problem(404, "unknown_route"),
        problem(400, "unknown_semaphore"),
        answer(404, "text/html", "<html></html>"),
        text(404, "Not held."),
        json(200, "null"),
        json(200, "{}"),
    ] {
        asked(reaction).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_server_is_ready_whether_or_not_it_tells_more() {
    let readiness = async |reaction| {
        let server = Server::start([reaction]).await;
        server.client().readiness().await
    };
    let grace = r#"{"ready":true,"grace_left":"12s","grace_left_seconds":12.0,"durable":true}"#;
    let seconds = Duration::from_secs(12);
    for (reaction, durable, grace_left) in [
        (text(200, "Ready"), false, None),
        (text(200, "Ready. Nothing new is granted for another 12s."), false, None),
        (json(200, r#"{"ready":true,"durable":true}"#), true, None),
        (json(200, grace), true, Some(seconds)),
    ] {
        let found = readiness(reaction).await.unwrap().expect("it is ready");
        assert_eq!((found.ready, found.durable, found.grace_left), (true, durable, grace_left));
    }
    assert_eq!(readiness(problem(503, "not_ready")).await.unwrap(), None);
    for reaction in [
        problem(503, "store_failed"),
        problem(500, "internal"),
        text(200, "Welcome"),
        json(200, r#"{"status":"ok"}"#),
    ] {
        readiness(reaction).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_code_of_a_newer_server_is_a_refusal_too() {
    let body = r#"{
        "type": "urn:throttle:error:moon_phase", "title": "Moon phase", "status": 418,
        "detail": "Not tonight.", "code": "moon_phase", "since": "0.9"
    }"#;
    let error = heartbeat(answer(418, "application/problem+json", body)).await;
    let Error::Refused { code: Code::Unknown, status: 418, detail, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(detail, "Not tonight.");
}

#[tokio::test]
async fn sentences_of_version_0_5_are_refusals_with_their_codes() {
    for (status, sentence, expected) in [
        (400, "Unknown peer", Code::UnknownPeer),
        (400, "Unknown semaphore", Code::UnknownSemaphore),
        (400, "Lock count must be a positive number. Found: -1.", Code::InvalidLockCount),
        (
            409,
            "Lock can never be acquired. Lock asks for count 9 yet full count is only 5.",
            Code::NeverAcquirable,
        ),
        (
            409,
            "Lock hierachy violation. This may deadlock. The current lock level is 0 the\n        \
             requested lock level was 0.",
            Code::LockHierarchyViolation,
        ),
        (409, "Already pending. Only one pendig lock per peer is allowed.", Code::AlreadyPending),
        (409, "Restore is not allowed to change existing peers.", Code::RestoreConflict),
    ] {
        // A server of version 0.5 sends no media type.
        let bare = answer(status, "", sentence);
        for reaction in [bare, text(status, sentence)] {
            let error = heartbeat(reaction).await;
            let Error::Refused { code, status: found, detail, .. } = error else {
                panic!("{sentence}: {error:?}")
            };
            assert_eq!((code, found, detail.as_str()), (expected, status, sentence));
        }
    }
}

#[tokio::test]
async fn a_sentence_with_the_wrong_status_is_not_believed() {
    let error = heartbeat(text(404, "Unknown peer")).await;
    assert!(matches!(error, Error::UnexpectedAnswer { status: 404, .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_of_another_server_is_shown_unchanged() {
    let garbage = [
        (200, "<html>Welcome to this hotel</html>"),
        (200, ""),
        (204, ""),
        (401, "Unauthorized"),
        (500, "Oops"),
    ];
    for (status, body) in garbage {
        let error = heartbeat(text(status, body)).await;
        let Error::UnexpectedAnswer { status: found, body: shown, .. } = error else {
            panic!("{status} {body}: {error:?}")
        };
        assert_eq!((found, shown.as_str()), (status, body));
    }
    let nobodys_problem = r#"{"type":"about:blank","title":"Unauthorized","status":401}"#;
    let error = heartbeat(answer(401, "application/problem+json", nobodys_problem)).await;
    assert!(matches!(error, Error::UnexpectedAnswer { status: 401, .. }), "{error:?}");
}

#[tokio::test]
async fn garbage_is_an_error_of_every_method_that_reads_an_answer() {
    let html = (0..16).map(|_| answer(200, "text/html", "<html></html>"));
    let server = Server::start(html).await;
    let client = client(&server.url()).retry(RetryPolicy::none()).build().unwrap();
    let errors = [
        client.new_peer(LEASE).await.err(),
        client.heartbeat(42, LEASE).await.err(),
        client.remove_peer(42).await.err(),
        client.acquire(42, "A", 1).await.err(),
        client.release(42, "A").await.err(),
        client.is_acquired(42).await.err(),
        client.peer(42).await.err(),
        client.peers().await.err(),
        client.remainder("A").await.err(),
        client.semaphores().await.err(),
        client.semaphore("A").await.err(),
        client.health().await.err(),
        client.ready().await.err(),
        client.version().await.err(),
        client.metrics().await.err(),
        client.reload().await.err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(Error::UnexpectedAnswer { status: 200, .. })), "{error:?}");
    }
}

#[tokio::test]
async fn only_the_beginning_of_a_long_body_is_shown_and_cut_between_characters() {
    let error = heartbeat(text(500, &"ä".repeat(1_000_000))).await;
    let Error::UnexpectedAnswer { body, .. } = error else { panic!("{error:?}") };
    assert_eq!(body, "ä".repeat(200));
}

#[tokio::test]
async fn of_an_endless_error_only_the_length_of_a_refusal_is_read() {
    let endless = stream::repeat_with(|| Ok::<_, io::Error>("<html>".repeat(1_000)));
    let endless = Response::builder().status(500).body(Body::from_stream(endless)).unwrap();
    let error = heartbeat(Reaction::Answer(endless)).await;
    let Error::UnexpectedAnswer { status: 500, body, .. } = error else { panic!("{error:?}") };
    assert!(body.starts_with("<html><html>"), "{body}");
}

#[tokio::test]
async fn an_acquired_lock_has_its_token_and_the_status_decides_whether_it_is_acquired() {
    let body = |acquired: &str| {
        format!(r#"{{"peer_id":42,"semaphore":"A","count":1,{acquired},"new":[]}}"#)
    };
    let held = body(r#""acquired":true,"fencing_token":7"#);
    let pending = body(r#""acquired":false"#);
    for (answer, expected) in [
        (json(200, &held), Some(Admission::Granted { token: Some(7) })),
        (json(202, &pending), Some(Admission::Queued)),
        // A server of version 0.5 answers the id of the peer.
        (json(200, "42"), Some(Admission::Granted { token: None })),
        (json(202, "42"), Some(Admission::Queued)),
        // Status and body contradict each other.
        (json(200, &pending), None),
        (json(202, &held), None),
    ] {
        let server = Server::start([answer]).await;
        let admission = server.client().acquire(42, "A", 1).await;
        assert_eq!(admission.ok(), expected);
    }
}

#[tokio::test]
async fn a_server_that_drains_is_not_ready_and_that_is_no_error() {
    let body = r#"{
        "type": "urn:throttle:error:not_ready", "title": "Not ready", "status": 503,
        "detail": "The server is shutting down.", "code": "not_ready"
    }"#;
    let draining = answer(503, "application/problem+json", body);
    let server = Server::start([text(200, "Ready"), draining, text(503, "no upstream")]).await;
    let client = server.client();
    assert!(client.ready().await.unwrap());
    assert!(!client.ready().await.unwrap());
    let error = client.ready().await.unwrap_err();
    assert!(matches!(error, Error::UnexpectedAnswer { status: 503, .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_answer_is_awaited_no_longer_than_the_timeout() {
    let server = Server::start([Reaction::NoAnswer]).await;
    let client = client(&server.url())
        .timeout(Duration::from_millis(20))
        .retry(RetryPolicy::none())
        .build()
        .unwrap();
    let error = client.version().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}
