//! More connections than the limit: which are served, and which are closed.

use std::sync::Mutex;

use tokio::sync::oneshot;

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const HEAD_WITHOUT_END: &str = "GET / HTTP/1.1\r\nhost:";
const BODY_WITHOUT_END: &str = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n123";

const NO_IDLE_GRACE: GracePeriods = GracePeriods { idle: Duration::ZERO, ..LIMITS.grace };

fn limits(connections: usize, slack: usize) -> ConnectionLimits {
    ConnectionLimits { capacity: Capacity { connections, slack }, ..LIMITS }
}

impl Fixture {
    /// Opens a connection and sends a request, which is answered.
    async fn serve_a_new_connection(&self) -> Connection {
        let mut connection = self.connect().await;
        connection.send(GET).await;
        connection.receive("hello").await;
        connection
    }

    /// A connection whose request is being handled.
    async fn wait(&mut self) -> Connection {
        let mut waiter = self.connect().await;
        waiter.send("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(self.waiting.recv().await, Some("waits"));
        waiter
    }
}

/// Section 6: holders come first.
#[tokio::test]
async fn new_connections_are_served_while_as_many_as_the_limit_wait() {
    let mut server = Fixture::start(limits(3, 2)).await;
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(server.wait().await);
    }
    for _ in 0..20 {
        server.serve_a_new_connection().await;
    }
    server.waiting.try_recv().expect_err("no waiting client is cut off");
}

/// Section 6: a silent client cannot keep others out.
#[tokio::test]
async fn idle_connections_of_any_kind_do_not_keep_new_ones_out() {
    for beginning in ["", HEAD_WITHOUT_END, GET, BODY_WITHOUT_END] {
        let server = Fixture::start(limits(8, 1)).await;
        let mut others = Vec::new();
        for _ in 0..50 {
            let mut other = server.connect().await;
            other.send(beginning).await;
            others.push(other);
            server.serve_a_new_connection().await;
        }
    }
}

#[tokio::test]
async fn the_connection_that_is_idle_for_longest_is_closed_first() {
    let limits = ConnectionLimits { grace: NO_IDLE_GRACE, ..limits(3, 1) };
    let server = Fixture::start(limits).await;
    let mut first = server.serve_a_new_connection().await;
    let mut second = server.serve_a_new_connection().await;
    let mut third = server.serve_a_new_connection().await;
    first.send(GET).await;
    first.receive("hello").await;

    let _fourth = server.serve_a_new_connection().await;
    assert_eq!(second.rest().await, "");
    for still_open in [&mut first, &mut third] {
        still_open.send(GET).await;
        still_open.receive("hello").await;
    }
}

#[tokio::test]
async fn a_client_may_take_its_time_to_send_a_request_while_there_is_slack() {
    for beginning in ["", HEAD_WITHOUT_END] {
        let limits = ConnectionLimits { grace: NO_IDLE_GRACE, ..limits(1, 2) };
        let server = Fixture::start(limits).await;
        let mut slow = server.connect().await;
        slow.send(beginning).await;
        for _ in 0..10 {
            server.serve_a_new_connection().await;
        }
        slow.send(&GET[beginning.len()..]).await;
        slow.receive("hello").await;
    }
}

#[tokio::test]
async fn answers_announce_that_their_connection_is_closed_when_connections_run_short() {
    let mut server = Fixture::start(limits(2, 1)).await;
    let mut usual = server.connect().await;
    let waiter = server.wait().await;
    usual.send(GET).await;
    assert!(!usual.receive("hello").await.contains("connection: close"));
    let _waiters = [waiter, server.wait().await];
    usual.send(GET).await;
    let answer = usual.rest().await;
    assert!(answer.contains("connection: close") && answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_connection_whose_request_is_being_handled_is_never_closed_in_favour_of_another() {
    let server = Fixture::start(limits(2, 1)).await;
    let mut busy = server.connect().await;
    busy.send("GET /until-stop HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(server.serve_a_new_connection().await);
        others.push(server.connect().await);
    }
    server.stop.send_replace(true);
    assert!(busy.rest().await.ends_with("finished"));
}

#[tokio::test]
async fn clients_that_do_not_read_their_answers_do_not_keep_new_ones_out() {
    let mut server = Fixture::start(limits(2, 1)).await;
    let mut readers = Vec::new();
    for _ in 0..6 {
        let mut reader = server.connect().await;
        reader.send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
        while server.waiting.recv().await != Some("flows") {}
        readers.push(reader);
    }
    server.serve_a_new_connection().await;
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_arrives_whole_if_connections_do_not_run_short() {
    let server = Fixture::start(limits(2, 1)).await;
    let mut reader = server.connect().await;
    reader.send("GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    server.serve_a_new_connection().await;
    assert!(reader.rest().await.ends_with(&large()));
}

/// A server, and a connection on which a short wait is going on.
async fn short_wait(limits: ConnectionLimits) -> (Fixture, Connection) {
    let waits = Arc::new(Mutex::new(Vec::<oneshot::Sender<()>>::new()));
    let end_short_wait = {
        let waits = Arc::clone(&waits);
        Arc::new(move || waits.lock().unwrap().pop().is_some_and(|wait| wait.send(()).is_ok()))
    };
    let mut server = Fixture::start_with(limits, end_short_wait).await;
    let (wait, ends) = oneshot::channel();
    server.short_wait.send(ends).unwrap();
    let mut waiter = server.connect().await;
    waiter.send("GET /short-wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(server.waiting.recv().await, Some("waits"));
    waits.lock().unwrap().push(wait);
    (server, waiter)
}

#[tokio::test]
async fn a_short_wait_and_its_connection_end_in_favour_of_a_new_connection() {
    let (server, mut waiter) = short_wait(limits(1, 1)).await;
    let _new = server.serve_a_new_connection().await;
    assert!(waiter.rest().await.ends_with("not yet"));
}

#[tokio::test]
async fn a_short_wait_ends_before_a_client_that_may_be_about_to_send_its_request_is_closed() {
    let limits = ConnectionLimits { grace: NO_IDLE_GRACE, ..limits(2, 0) };
    let (server, mut waiter) = short_wait(limits).await;
    let mut slow = server.connect().await;
    server.serve_a_new_connection().await;
    assert!(waiter.rest().await.ends_with("not yet"));
    slow.send(GET).await;
    slow.receive("hello").await;
}

#[tokio::test]
async fn connections_beyond_the_slack_wait_until_another_one_ends() {
    let mut server = Fixture::start(limits(1, 1)).await;
    let waiters = [server.wait().await, server.wait().await];
    let mut third = server.connect().await;
    third.send(GET).await;
    let mut nothing = [0];
    let early = timeout(Duration::from_millis(60), third.0.peek(&mut nothing)).await;
    assert!(early.is_err(), "there is no room yet");
    drop(waiters);
    third.receive("hello").await;
}

#[tokio::test]
async fn a_connection_that_waits_too_long_for_room_is_answered_503() {
    let limits = ConnectionLimits { room_timeout: Duration::from_millis(30), ..limits(1, 0) };
    let mut server = Fixture::start(limits).await;
    let _waiter = server.wait().await;
    let mut second = server.connect().await;
    second.send(GET).await;
    expect_test::expect![[r#"
        HTTP/1.1 503 Service Unavailable
        content-type: text/plain; charset=utf-8
        content-length: 21
        retry-after: 1
        connection: close

        Too many connections."#]]
    .assert_eq(&second.rest().await.replace('\r', ""));
}

#[tokio::test]
async fn stopping_takes_no_longer_when_connections_run_short() {
    let mut server = Fixture::start(limits(1, 1)).await;
    let _waiters = [server.wait().await, server.wait().await];
    let mut third = server.connect().await;
    third.send(GET).await;
    server.stop.send_replace(true);
    timeout(Duration::from_secs(2), server.serving).await.unwrap().unwrap();
    assert_eq!(third.rest().await, "");
}
