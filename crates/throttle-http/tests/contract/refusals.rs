//! Every row of the table of errors, in plain text and as a problem document.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request},
};
use throttle_http::{Api, Malformed};
use throttle_runtime::{Handle, Settings};
use throttle_wire::Code;
use tokio::time::sleep;

use crate::support::{Server, check_refusal, request, semaphores};

#[tokio::test(start_paused = true)]
async fn a_peer_that_was_never_created_is_unknown() {
    let server = Server::start(&[("A", 1, 0)]);
    // The problem document has the uptime of the server.
    sleep(Duration::from_secs(90)).await;
    let requests = [
        (Method::PUT, "/peers/5/A", "1"),
        (Method::DELETE, "/peers/5/A", ""),
        (Method::GET, "/peers/5/is_acquired", ""),
        (Method::GET, "/peers/5", ""),
        (Method::PUT, "/peers/5", r#"{"expires_in":"1m"}"#),
    ];
    for (method, path, body) in requests {
        for path in [path, &path.replace('5', "0"), &path.replace('5', &u64::MAX.to_string())] {
            let request = (method.clone(), path, body);
            check_refusal(&server, request, Code::UnknownPeer, "Unknown peer").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_semaphore_that_is_not_configured_is_unknown() {
    let server = Server::start(&[("A", 1, 0)]);
    let lock = format!("/peers/{}/B", server.join().await);
    let requests = [
        (Method::PUT, lock.as_str(), "1"),
        (Method::DELETE, &lock, ""),
        (Method::GET, "/semaphores/B", ""),
        (Method::GET, "/remainder?semaphore=B", ""),
        (Method::POST, "/restore", r#"{"expires_in":"1m","peer_id":7,"acquired":{"A":1,"B":1}}"#),
    ];
    for request in requests {
        check_refusal(&server, request, Code::UnknownSemaphore, "Unknown semaphore").await;
    }
    assert_eq!(server.handle.remainder("A").await, Ok(1), "a refused restore changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_count_must_be_positive() {
    let server = Server::start(&[("A", 1, 0)]);
    let lock = format!("/peers/{}/A", server.join().await);
    for count in ["0", "-1", "-9223372036854775808"] {
        let detail = format!("Lock count must be a positive number. Found: {count}.");
        let acquire = (Method::PUT, lock.as_str(), count);
        check_refusal(&server, acquire, Code::InvalidLockCount, &detail).await;
        let body = format!(r#"{{"expires_in":"1m","peer_id":7,"acquired":{{"A":{count}}}}}"#);
        let restore = (Method::POST, "/restore", body.as_str());
        check_refusal(&server, restore, Code::InvalidLockCount, &detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_above_the_maximum_can_never_be_acquired() {
    let server = Server::start(&[("A", 5, 0)]);
    let lock = format!("/peers/{}/A", server.join().await);
    let detail = "Lock can never be acquired. Lock asks for count 9 yet full count is only 5.";
    let request = (Method::PUT, lock.as_str(), "9");
    check_refusal(&server, request, Code::NeverAcquirable, detail).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_lower_sequence_number_is_stale() {
    let server = Server::start(&[("A", 1, 0)]);
    let peer = server.join().await;
    assert_eq!(server.put(&format!("/peers/{peer}/A?sequence=812"), "1").await.status, 200);
    let detail = "Stale request. A request of this peer with the number 812 came before this one with \
                  the number 7.";
    let lock = format!("/peers/{peer}/A?sequence=7");
    let restore = format!(
        r#"{{"expires_in": "1m", "peer_id": {peer}, "acquired": {{"A": 1}}, "sequence": 7}}"#
    );
    for request in [
        (Method::PUT, lock.as_str(), "1"),
        (Method::DELETE, &lock, ""),
        (Method::POST, "/restore", &restore),
    ] {
        check_refusal(&server, request, Code::StaleRequest, detail).await;
    }
    assert_eq!(server.handle.remainder("A").await, Ok(0));
}

/// S6
#[tokio::test(start_paused = true)]
async fn a_violation_of_the_hierarchy_names_both_levels() {
    let server = Server::start(&[("A", 1, 1), ("B", 1, 2)]);
    let path = format!("/peers/{}/B", server.hold("A", 1).await);
    let detail = "Lock hierarchy violation. The peer holds a lock of level 1, so it can only ask \
                  for locks of lower levels. The requested level is 2.";
    let request = (Method::PUT, path.as_str(), "1");
    check_refusal(&server, request, Code::LockHierarchyViolation, detail).await;
}

/// S5
#[tokio::test(start_paused = true)]
async fn a_peer_has_one_pending_lock() {
    let server = Server::start(&[("A", 1, 0), ("B", 1, 0)]);
    server.hold("A", 1).await;
    let peer = server.join().await;
    server.put(&format!("/peers/{peer}/A"), "1").await;
    let detail =
        "Already pending. One pending lock per peer is allowed, and its count cannot grow.";
    let path = format!("/peers/{peer}/B");
    let request = (Method::PUT, path.as_str(), "1");
    check_refusal(&server, request, Code::AlreadyPending, detail).await;
}

/// S9
#[tokio::test(start_paused = true)]
async fn restore_does_not_change_an_existing_peer() {
    let server = Server::start(&[("A", 1, 0)]);
    let peer = server.join().await;
    let body = format!(r#"{{"expires_in":"1m","peer_id":{peer},"acquired":{{"A":1}}}}"#);
    let request = (Method::POST, "/restore", body.as_str());
    let detail = "Restore is not allowed to change existing peers.";
    check_refusal(&server, request, Code::RestoreConflict, detail).await;
}

#[tokio::test(start_paused = true)]
async fn counts_end_at_53_bits() {
    let server = Server::start(&[("A", (1 << 53) - 1, 0)]);
    let detail = "A lock count, and the sum of those restored, is at most 9007199254740991.";
    let lock = format!("/peers/{}/A", server.join().await);
    let restore =
        |count: &str| format!(r#"{{"expires_in":"1m","peer_id":7,"acquired":{{"A":{count}}}}}"#);
    let endless = "9".repeat(400);
    for count in ["9007199254740992", "9223372036854775808", "18446744073709551616", &endless] {
        let acquire = (Method::PUT, lock.as_str(), count);
        check_refusal(&server, acquire, Code::LockCountTooLarge, detail).await;
        let body = restore(count);
        let restore = (Method::POST, "/restore", body.as_str());
        check_refusal(&server, restore, Code::LockCountTooLarge, detail).await;
    }
    assert_eq!(server.put(&lock, "9007199254740991").await.status, 200);
    let body = restore("1");
    let beyond = (Method::POST, "/restore", body.as_str());
    check_refusal(&server, beyond, Code::LockCountTooLarge, detail).await;
}

#[tokio::test(start_paused = true)]
async fn peers_beyond_the_limit_are_refused_with_retry_after() {
    let settings = Settings { max_peers: 1, ..Settings::default() };
    let server = Server::build(&[], settings, |api| api);
    server.join().await;
    let detail = "There are 1 peers, and no more are allowed. Try again later.";
    let requests = [
        (Method::POST, "/new_peer", r#"{"expires_in":"1m"}"#),
        (Method::POST, "/restore", r#"{"expires_in":"1m","peer_id":7,"acquired":{}}"#),
    ];
    for request in requests {
        let answer = check_refusal(&server, request, Code::TooManyPeers, detail).await;
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn labels_beyond_the_limit_are_refused_with_retry_after_and_peers_without_them_are_created() {
    let settings = Settings { max_label_bytes: 100, ..Settings::default() };
    let server = Server::build(&[], settings, |api| api);
    let labels = r#"{"expires_in":"1m","labels":{"host":"worker-1"}}"#;
    server.post("/new_peer", labels).await;
    let detail = "The labels of all peers take 100 bytes, and no more are allowed. Try again later, \
                  or without labels.";
    let restore = r#"{"expires_in":"1m","peer_id":7,"acquired":{},"labels":{"host":"worker-1"}}"#;
    for request in [(Method::POST, "/new_peer", labels), (Method::POST, "/restore", restore)] {
        let answer = check_refusal(&server, request, Code::TooManyLabelBytes, detail).await;
        assert_eq!(answer.header("retry-after"), "1");
    }
    server.join().await;
}

#[tokio::test(start_paused = true)]
async fn waiters_beyond_the_limit_are_refused_with_retry_after() {
    let settings = Settings { max_waiters: 0, ..Settings::default() };
    let server = Server::build(&[("A", 1, 0)], settings, |api| api);
    server.hold("A", 1).await;
    let path = format!("/peers/{}/A", server.join().await);
    let detail = "There are 0 peers waiting for this semaphore, and no more are allowed. Try again \
                  later.";
    let request = (Method::PUT, path.as_str(), "1");
    let answer = check_refusal(&server, request, Code::TooManyWaiters, detail).await;
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_path_without_a_route_is_not_found() {
    let server = Server::start(&[("A", 1, 0)]);
    let nowhere = [
        (Method::GET, "/nowhere", ""),
        (Method::POST, "/new_peer/", r#"{"expires_in":"1m"}"#),
        (Method::PUT, "/peers/5/A/1", "1"),
        (Method::PUT, "/peers/5/", "1"),
        (Method::GET, "//", ""),
        // The application has enabled none of them.
        (Method::GET, "/metrics", ""),
        (Method::POST, "/admin/reload", ""),
        (Method::GET, "/admin/store/export", ""),
    ];
    for request in nowhere {
        let detail = "There is nothing at this path.";
        check_refusal(&server, request, Code::UnknownRoute, detail).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_method_is_answered_with_the_allowed_ones() {
    let server = Server::start(&[]);
    let wrong = [
        (Method::POST, "/", "GET,HEAD"),
        (Method::GET, "/new_peer", "POST"),
        (Method::PATCH, "/peers/5", "GET,HEAD,PUT,DELETE"),
        (Method::GET, "/peer/5/A", "PUT,DELETE"),
        (Method::POST, "/peers/5/is_acquired", "GET,HEAD,PUT,DELETE"),
        (Method::DELETE, "/peers/", "GET,HEAD"),
        (Method::PUT, "/restore", "POST"),
        (Method::OPTIONS, "/remainder", "GET,HEAD"),
    ];
    let detail =
        "This path does not take this method. The header `Allow` lists those that it takes.";
    for (method, path, allow) in wrong {
        let request = (method, path, "");
        let answer = check_refusal(&server, request, Code::MethodNotAllowed, detail).await;
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

/// The error of the semaphore comes first, then that of the count, then that of the peer, because a client
/// restores an unknown peer and tries again.
#[tokio::test(start_paused = true)]
async fn of_several_errors_that_of_the_semaphore_comes_first_and_that_of_the_peer_last() {
    let server = Server::start(&[("A", 1, 0)]);
    for peer in [0, 5] {
        let code = async |semaphore, count: &str| {
            server.put(&format!("/peers/{peer}/{semaphore}"), count).await.body
        };
        assert_eq!(code("B", "0").await, "Unknown semaphore");
        assert_eq!(code("B", "1").await, "Unknown semaphore");
        let found = "Lock count must be a positive number. Found: 0.";
        assert_eq!(code("A", "0").await, found);
        assert_eq!(code("A", "1").await, "Unknown peer");
        let release = server.delete(&format!("/peers/{peer}/B")).await;
        assert_eq!(release.body, "Unknown semaphore");
    }
    let restore = r#"{"expires_in":"1m","peer_id":7,"acquired":{"B":0}}"#;
    assert_eq!(server.post("/restore", restore).await.body, "Unknown semaphore");
}

/// S12 does not hold for the lease: a request shows that its peer is alive.
#[tokio::test(start_paused = true)]
async fn a_refused_acquire_renews_the_lease() {
    let server = Server::start(&[("A", 1, 0)]);
    let peer = server.join().await;
    let refused = server.put(&format!("/peers/{peer}/A?expires_in=5m"), "2").await;
    assert_eq!(refused.status, 409);
    assert_eq!(server.get(&format!("/peers/{peer}")).await.value()["time_left"], "5m");
}

#[tokio::test(start_paused = true)]
async fn problem_documents_are_for_clients_that_ask_for_them() {
    let server = Server::start(&[]);
    let ask = async |accept: &str| {
        let request = Request::get("/peers/5").header("accept", accept).body(Body::empty());
        server.send(request.unwrap()).await.header("content-type").to_owned()
    };
    let problem = "application/problem+json";
    assert_eq!(ask("application/json, application/problem+json;q=0.9").await, problem);
    for other in ["*/*", "application/*", "application/json", "application/problem+json;q=0"] {
        assert_eq!(ask(other).await, "text/plain; charset=utf-8", "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_is_answered_with_an_internal_error() {
    let server = Server::build(&[], Settings::default(), |api| {
        api.reload(|| async { panic!("the hook is broken") })
    });
    let reload = (Method::POST, "/admin/reload", "");
    let detail = "Something went wrong in the server.";
    check_refusal(&server, reload, Code::Internal, detail).await;
    assert_eq!(server.send(request(Method::GET, "/health", "")).await.status, 200);
}

/// Its method is not what is wrong with it.
#[tokio::test(start_paused = true)]
async fn a_malformed_request_gets_no_header_allow() {
    let handle = Handle::start(Settings::default(), &semaphores(&[]));
    let endpoint = Api::new(handle).endpoint();
    for path in ["/health", "/semaphores/A", "/peers/5", "/nowhere"] {
        let (head, ()) = Request::patch(path).body(()).unwrap().into_parts();
        let answer = endpoint.refuse(Malformed::Host, Some(head)).await;
        assert_eq!(answer.status(), 400, "{path}");
        assert!(!answer.headers().contains_key("allow"), "{path}");
    }
}
