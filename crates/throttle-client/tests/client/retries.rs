//! Which requests are repeated, and when.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::header::RETRY_AFTER;
use throttle_client::{
    Admission, Client, Code, Error, Labels, Peer, Restore, RetryPolicy, http_client_builder,
    reqwest::dns::{Addrs, Name, Resolve, Resolving},
};

use crate::{
    real_server::now,
    scripted_server::{
        Cut, LEASE, NoAnswer, QUICK_RETRIES, Reaction, Server, answer, client, json, text,
    },
};

fn too_many_waiters() -> Reaction {
    let body = r#"{
        "type": "urn:throttle:error:too_many_waiters", "title": "Too many waiters", "status": 429,
        "detail": "Try again later.", "code": "too_many_waiters"
    }"#;
    answer(429, "application/problem+json", body)
}

#[tokio::test]
async fn harmless_requests_are_repeated_when_the_answer_is_lost() {
    let restore = Restore {
        expires_in: LEASE,
        peer_id: 42,
        acquired: [("A".to_owned(), 1)].into(),
        labels: Labels::new(),
        sequence: None,
    };
    let script = [
        text(200, "Ok"),
        json(200, "\"Peer not found\""),
        json(200, "42"),
        text(200, "Ok"),
        json(200, "true"),
        text(200, "Ok"),
        json(200, "-1"),
        json(200, "[]"),
        text(200, "0.6.0"),
    ];
    let methods = script.len();
    let server = Server::start(script.into_iter().flat_map(|answer| [Cut, answer])).await;
    let client = server.client();

    client.heartbeat(42, LEASE).await.unwrap();
    assert!(!client.remove_peer(42).await.unwrap());
    assert_eq!(client.acquire(42, "A", 1).await.unwrap(), Admission::Granted { token: None });
    client.release(42, "A").await.unwrap();
    assert!(client.is_acquired(42).await.unwrap());
    client.restore(&restore).await.unwrap();
    assert_eq!(client.remainder("A").await.unwrap(), -1);
    assert_eq!(client.semaphores().await.unwrap(), []);
    assert_eq!(client.version().await.unwrap(), "0.6.0");

    let lines = server.lines();
    assert_eq!(lines.len(), 2 * methods);
    assert!(lines.chunks(2).all(|pair| pair[0] == pair[1]), "{lines:#?}");
}

#[tokio::test]
async fn a_new_peer_is_requested_until_one_is_created() {
    let page = || answer(404, "text/html", "<html>default backend</html>");
    let script = [Cut, text(502, ""), page(), json(200, "42"), text(504, ""), json(200, "43")];
    let server = Server::start(script).await;
    let client = server.client();
    assert_eq!(client.new_peer(LEASE).await.unwrap(), 42);
    assert_eq!(client.new_peer(LEASE).await.unwrap(), 43);
    assert_eq!(server.lines(), [r#"POST /new_peer {"expires_in":"1m"}"#; 6]);
}

#[tokio::test]
async fn a_reload_is_not_repeated_when_its_answer_is_lost() {
    let server = Server::start([Cut, text(502, ""), text(200, "<html></html>")]).await;
    let client = server.client();
    assert!(matches!(client.reload().await, Err(Error::Transport { .. })));
    for status in [502, 200] {
        let error = client.reload().await.unwrap_err();
        assert!(matches!(error, Error::UnexpectedAnswer { status: it, .. } if it == status));
    }
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn a_new_peer_and_a_reload_are_repeated_when_the_server_is_busy() {
    let reloaded = r#"{"added":["A"],"changed":[],"removed":[]}"#;
    let script =
        [too_many_waiters(), text(503, ""), json(200, "42"), text(503, ""), json(200, reloaded)];
    let server = Server::start(script).await;
    let client = server.client();
    assert_eq!(client.new_peer(LEASE).await.unwrap(), 42);
    assert_eq!(client.reload().await.unwrap().added, ["A"]);
    assert_eq!(server.lines().len(), 5);
}

#[tokio::test]
async fn health_and_ready_are_never_repeated() {
    let server = Server::start([text(503, ""), Cut, text(503, ""), Cut]).await;
    let client = server.client();
    client.health().await.unwrap_err();
    client.health().await.unwrap_err();
    client.ready().await.unwrap_err();
    client.ready().await.unwrap_err();
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let server = Server::start([text(400, "Unknown peer"), text(200, "Ok")]).await;
    let error = server.client().heartbeat(42, LEASE).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::UnknownPeer));
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_server_that_stays_busy_is_asked_a_limited_number_of_times() {
    let server = Server::start((0..100).map(|_| too_many_waiters())).await;
    let error = server.client().acquire(42, "A", 1).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::TooManyWaiters));
    assert_eq!(server.lines().len(), QUICK_RETRIES.attempts as usize);
}

#[tokio::test]
async fn a_busy_server_that_asks_for_more_time_than_the_budget_is_not_asked_again() {
    let server = Server::start([too_many_waiters().with(RETRY_AFTER, "11"), json(200, "42")]).await;
    let error = server.client().acquire(42, "A", 1).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::TooManyWaiters));
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_request_for_a_lock_respects_retry_after() {
    let busy = too_many_waiters().with(RETRY_AFTER, "1");
    let released = json(200, "\"Peer released\"");
    let script = [json(200, "42"), busy, json(200, "42"), text(200, "Ok"), released];
    let server = Server::start(script).await;
    let begin = now();
    let peer = Peer::new(&server.client());
    let lock = peer.lock("A").await.unwrap();
    assert!(now() - begin >= Duration::from_secs(1));
    assert_eq!(server.lines().len(), 3);
    lock.release().await.unwrap();
    peer.close().await;
}

#[tokio::test]
async fn retry_after_as_a_date_is_ignored() {
    let busy = text(503, "").with(RETRY_AFTER, "Fri, 31 Dec 2100 23:59:59 GMT");
    let server = Server::start([busy, text(200, "Ok")]).await;
    server.client().heartbeat(42, LEASE).await.unwrap();
}

#[tokio::test]
async fn without_retries_every_request_is_sent_once() {
    let server = Server::start([Cut, text(503, ""), text(200, "Ok")]).await;
    let client = client(&server.url()).retry(RetryPolicy::none()).build().unwrap();
    assert!(matches!(client.heartbeat(42, LEASE).await, Err(Error::Transport { .. })));
    assert!(matches!(client.heartbeat(42, LEASE).await, Err(Error::UnexpectedAnswer { .. })));
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn a_request_without_an_answer_in_time_is_repeated() {
    let server = Server::start([NoAnswer, text(200, "Ok")]).await;
    let client = client(&server.url()).timeout(Duration::from_millis(50)).build().unwrap();
    client.heartbeat(42, LEASE).await.unwrap();
    assert_eq!(server.lines().len(), 2);
}

/// All attempts share the wait, and each may take the client's timeout in addition.
#[tokio::test]
async fn a_blocking_acquire_asks_again_only_for_what_is_left_of_its_wait() {
    let wait = Duration::from_millis(500);
    let server = Server::start([Cut, NoAnswer, json(202, "42")]).await;
    let client = client(&server.url()).timeout(Duration::from_millis(50)).build().unwrap();
    let admission = client.acquire(42, "A", 1).block_for(wait).await.unwrap();
    assert_eq!(admission, Admission::Queued);

    let received = server.received();
    let asked: Vec<_> = received.iter().map(|request| request.duration("block_for")).collect();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0], wait);
    assert!(asked[1] < wait && !asked[1].is_zero(), "{asked:?}");
    // The second attempt lasted until the wait was over.
    assert_eq!(asked[2], Duration::ZERO);
}

/// A resolver that fails the first few times.
struct Resolver {
    address: SocketAddr,
    failures: usize,
    failure: fn() -> Resolving,
    asked: Arc<AtomicUsize>,
}

impl Resolve for Resolver {
    fn resolve(&self, _: Name) -> Resolving {
        if self.asked.fetch_add(1, Ordering::Relaxed) < self.failures {
            return (self.failure)();
        }
        let addresses: Addrs = Box::new([self.address].into_iter());
        Box::pin(async { Ok(addresses) })
    }
}

fn unknown_host() -> Resolving {
    Box::pin(async { Err(io::Error::other("unknown host").into()) })
}

fn no_reply() -> Resolving {
    Box::pin(std::future::pending())
}

/// A client that cannot connect to the server the first few times, and a counter of its attempts.
fn client_of_an_absent(
    server: &Server,
    failures: usize,
    failure: fn() -> Resolving,
) -> (Client, Arc<AtomicUsize>) {
    let (address, asked) = (server.address, Arc::new(AtomicUsize::new(0)));
    let resolver = Resolver { address, failures, failure, asked: Arc::clone(&asked) };
    let http = http_client_builder()
        .no_proxy()
        .dns_resolver(resolver)
        .connect_timeout(Duration::from_millis(200));
    let url = format!("http://throttle.test:{}", address.port());
    let client = Client::builder(url).http_client(http.build().unwrap()).retry(QUICK_RETRIES);
    (client.build().unwrap(), asked)
}

#[tokio::test]
async fn a_new_peer_is_requested_again_if_there_was_no_connection() {
    for failure in [unknown_host, no_reply] {
        let server = Server::start([json(200, "42")]).await;
        let (client, asked) = client_of_an_absent(&server, 2, failure);
        assert_eq!(client.new_peer(LEASE).await.unwrap(), 42);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert_eq!(server.lines().len(), 1);
    }
}

#[tokio::test]
async fn an_unreachable_server_is_a_connect_error() {
    let server = Server::start([]).await;
    let (client, asked) = client_of_an_absent(&server, usize::MAX, unknown_host);
    let error = client.new_peer(LEASE).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert_eq!(asked.load(Ordering::Relaxed), QUICK_RETRIES.attempts as usize);

    assert!(matches!(client.health().await, Err(Error::Connect { .. })));
    assert_eq!(asked.load(Ordering::Relaxed), QUICK_RETRIES.attempts as usize + 1);
}

/// The causes repeat neither the URL, which may be secret, nor that a request failed.
#[tokio::test]
async fn the_causes_of_an_error_repeat_nothing() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Server::start([NoAnswer]).await;
    let broken = Server::start([Cut]).await;
    for (url, expected) in [
        (format!("http://{unused}"), "cannot connect to URL: tcp connect error: "),
        (silent.url(), "no answer in time from URL: operation timed out"),
        (broken.url(), "the connection to URL failed: "),
    ] {
        let client = client(&url).retry(RetryPolicy::none()).timeout(Duration::from_millis(200));
        let error = client.build().unwrap().heartbeat(42, LEASE).await.unwrap_err();
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            message += &format!(": {error}");
            cause = error.source();
        }
        assert!(message.replace(&url, "URL").starts_with(expected), "{message}");
        assert!(
            !message.contains("error sending request") && !message.contains("/peers/42"),
            "{message}"
        );
    }
}
