//! More connections than there may be: who gets through, and who has to leave.

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
    /// A new connection gets its answer.
    async fn serve_a_newcomer(&self) -> Connection {
        let mut newcomer = self.connect().await;
        newcomer.send(GET).await;
        newcomer.receive("hello").await;
        newcomer
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
async fn newcomers_are_served_while_all_connections_that_there_may_be_wait() {
    let mut server = Fixture::start(limits(3, 2)).await;
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(server.wait().await);
    }
    for _ in 0..20 {
        server.serve_a_newcomer().await;
    }
    server.waiting.try_recv().expect_err("nobody who waits is cut off");
}

/// Section 6: by silence alone nobody keeps others out.
#[tokio::test]
async fn idle_connections_of_any_kind_keep_nobody_out() {
    for beginning in ["", HEAD_WITHOUT_END, GET, BODY_WITHOUT_END] {
        let server = Fixture::start(limits(8, 1)).await;
        let mut others = Vec::new();
        for _ in 0..50 {
            let mut other = server.connect().await;
            other.send(beginning).await;
            others.push(other);
            server.serve_a_newcomer().await;
        }
    }
}

#[tokio::test]
async fn the_connection_that_is_idle_for_longest_is_closed_first() {
    let limits = ConnectionLimits { grace: NO_IDLE_GRACE, ..limits(3, 1) };
    let server = Fixture::start(limits).await;
    let mut first = server.serve_a_newcomer().await;
    let mut second = server.serve_a_newcomer().await;
    let mut third = server.serve_a_newcomer().await;
    first.send(GET).await;
    first.receive("hello").await;

    let _fourth = server.serve_a_newcomer().await;
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
            server.serve_a_newcomer().await;
        }
        slow.send(&GET[beginning.len()..]).await;
        slow.receive("hello").await;
    }
}

#[tokio::test]
async fn clients_hear_that_their_connection_is_closed_when_connections_run_short() {
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
async fn a_connection_whose_request_is_being_handled_is_never_closed_for_another_one() {
    let server = Fixture::start(limits(2, 1)).await;
    let mut busy = server.connect().await;
    busy.send("GET /until-stop HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(server.serve_a_newcomer().await);
        others.push(server.connect().await);
    }
    server.stop.send_replace(true);
    assert!(busy.rest().await.ends_with("finished"));
}

#[tokio::test]
async fn clients_that_do_not_take_their_answers_keep_nobody_out() {
    let mut server = Fixture::start(limits(2, 1)).await;
    let mut readers = Vec::new();
    for _ in 0..6 {
        let mut reader = server.connect().await;
        reader.send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
        while server.waiting.recv().await != Some("flows") {}
        readers.push(reader);
    }
    server.serve_a_newcomer().await;
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_arrives_whole_if_nobody_needs_its_connection() {
    let server = Fixture::start(limits(2, 1)).await;
    let mut reader = server.connect().await;
    reader.send("GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    server.serve_a_newcomer().await;
    assert!(reader.rest().await.ends_with(&large()));
}

/// A server, and a connection of it with a short wait.
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
async fn a_short_wait_ends_in_favour_of_a_newcomer_and_its_connection_with_it() {
    let (server, mut waiter) = short_wait(limits(1, 1)).await;
    let _newcomer = server.serve_a_newcomer().await;
    assert!(waiter.rest().await.ends_with("not yet"));
}

#[tokio::test]
async fn a_short_wait_ends_before_a_client_that_may_be_about_to_send_its_request_is_closed() {
    let limits = ConnectionLimits { grace: NO_IDLE_GRACE, ..limits(2, 0) };
    let (server, mut waiter) = short_wait(limits).await;
    let mut slow = server.connect().await;
    server.serve_a_newcomer().await;
    assert!(waiter.rest().await.ends_with("not yet"));
    slow.send(GET).await;
    slow.receive("hello").await;
}

#[tokio::test]
async fn newcomers_beyond_the_slack_stand_in_line_until_somebody_leaves() {
    let mut server = Fixture::start(limits(1, 1)).await;
    let waiters = [server.wait().await, server.wait().await];
    let mut newcomer = server.connect().await;
    newcomer.send(GET).await;
    let mut nothing = [0];
    let early = timeout(Duration::from_millis(60), newcomer.0.peek(&mut nothing)).await;
    assert!(early.is_err(), "there is no room yet");
    drop(waiters);
    newcomer.receive("hello").await;
}

#[tokio::test]
async fn one_for_whom_there_is_no_room_for_long_is_told_so() {
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
async fn stopping_takes_no_longer_when_connections_are_short() {
    let mut server = Fixture::start(limits(1, 1)).await;
    let _waiters = [server.wait().await, server.wait().await];
    let mut newcomer = server.connect().await;
    newcomer.send(GET).await;
    server.stop.send_replace(true);
    timeout(Duration::from_secs(2), server.serving).await.unwrap().unwrap();
    assert_eq!(newcomer.rest().await, "");
}
