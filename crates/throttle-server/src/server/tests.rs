//! The ends of servers, broken ones among them.

use std::{path::Path, time::Duration};

use throttle_runtime::{Count, Event, Labels, LockRequest, Observer, PeerId, SemaphoreId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;

/// Panics within the critical section when a lock is released.
struct Fragile;

impl Observer for Fragile {
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, _: SemaphoreId) {}

    fn event(&mut self, event: &Event) {
        assert!(!matches!(event, Event::Released { .. }), "a defect");
    }
}

/// A server with the mutex `A` that breaks when it is released, and the peer that holds it.
async fn start() -> (Running, PeerId) {
    let config = Config::parse("[semaphores]\nA = 1", Path::new("it")).unwrap();
    let prepared = Prepared::new(config, |_| Box::new(Fragile)).await.unwrap();
    let listeners = Listeners::bind(&Address::new("127.0.0.1", 0)).await.unwrap();
    let server = prepared.start_serving(listeners, None).await.unwrap();
    let handle = server.handle();
    let lease = Duration::from_secs(3_600);
    let holder = handle.new_peer(lease, Labels::default()).await.unwrap();
    handle.acquire(holder, "A", LockRequest::now(Count::ONE)).await.unwrap();
    (server, holder)
}

/// The first line of the answer to a request.
async fn status(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: throttle\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn after_a_panic_in_the_critical_section_the_server_has_failed_and_every_answer_is_500() {
    const OK: &str = "HTTP/1.1 200 OK";
    const BROKEN: &str = "HTTP/1.1 500 Internal Server Error";
    let (server, holder) = start().await;
    let address = server.addresses()[0].network().unwrap();
    for path in ["/health", "/ready"] {
        assert_eq!(status(address, "GET", path, "").await, OK);
    }
    let waiter = server.handle().new_peer(Duration::from_secs(3_600), Labels::default()).await;
    let path = format!("/peers/{}/A?block_for=1h", waiter.unwrap().get());
    let waiting = tokio::spawn(async move { status(address, "PUT", &path, "1").await });
    while server.handle().semaphore("A").await.unwrap().waiters == 0 {
        tokio::task::yield_now().await;
    }

    let path = format!("/peers/{}/A", holder.get());
    assert_eq!(status(address, "DELETE", &path, "").await, BROKEN);
    let ended = server.ended().await;
    assert!(matches!(ended, Err(ServerFailure::Service(Failure::Operation))), "{ended:?}");
    assert_eq!(waiting.await.unwrap(), BROKEN, "it does not wait for an hour");
    for path in ["/health", "/ready", "/peers", "/metrics"] {
        assert_eq!(status(address, "GET", path, "").await, BROKEN, "{path}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_whose_accepting_task_is_gone_has_failed() {
    let (server, _) = start().await;
    let ended = server.ended();
    server.serving.abort();
    assert!(matches!(ended.await, Err(ServerFailure::Accepting)));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_stopped_has_ended_without_failure() {
    let (server, _) = start().await;
    let ended = server.ended();
    server.stop().await.unwrap();
    assert!(ended.await.is_ok());
}
