//! Too many clients, slow clients, and clients that hang up.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::StatusCode,
    response::IntoResponse as _,
    routing::{get, post},
};
use metrics::{Counter, Gauge};
use throttle_runtime::Clock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use super::{open_connections::OpenConnections, *};

mod shortage;

const LIMITS: ConnectionLimits = ConnectionLimits {
    capacity: Capacity { connections: 10, slack: 2 },
    request_timeout: Duration::from_secs(60),
    head_bytes: 8_192,
    grace: GracePeriods {
        idle: Duration::from_millis(10),
        awaiting_request: Duration::from_secs(60),
        stalled: Duration::from_millis(20),
    },
    room_timeout: Duration::from_secs(60),
};
const IMPATIENT: ConnectionLimits =
    ConnectionLimits { request_timeout: Duration::from_millis(50), ..LIMITS };

/// A running server. When this is dropped it stops.
struct Fixture {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
    /// Events of the requests for `/wait` and others that wait.
    waiting: mpsc::UnboundedReceiver<&'static str>,
    /// Takes for each request for `/short-wait` what ends it.
    short_wait: mpsc::UnboundedSender<oneshot::Receiver<()>>,
}

#[derive(Clone)]
struct Routes(Router);

impl HttpService for Routes {
    async fn answer(&self, request: Request<DeadlineBody>) -> Response {
        self.0.clone().oneshot(request).await.into_response()
    }

    async fn refuse(&self, malformed: Malformed, head: Option<Parts>) -> Response {
        let status = match malformed {
            Malformed::HeadTooLarge => 431,
            Malformed::Host | Malformed::Request => 400,
        };
        let status = StatusCode::from_u16(status).unwrap();
        let of = head.as_ref().map_or("nothing", |head| head.uri.path());
        (status, format!("{malformed:?} of {of}")).into_response()
    }
}

/// Sends an event when it is dropped.
struct Waiting(mpsc::UnboundedSender<&'static str>);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Fixture {
    async fn start(limits: ConnectionLimits) -> Self {
        Self::start_with(limits, Arc::new(|| false)).await
    }

    async fn start_with(
        limits: ConnectionLimits,
        end_short_wait: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Self {
        let listeners = Listeners::bind(&crate::Address::new("127.0.0.1", 0)).await.unwrap();
        let address = listeners.addresses().unwrap()[0].network().unwrap();
        let (stop, stopping) = watch::channel(false);
        let (events, waiting) = mpsc::unbounded_channel();
        let flows = events.clone();
        let wait = async move || {
            let _guard = Waiting(events.clone());
            events.send("waits").unwrap();
            std::future::pending::<()>().await;
        };
        let (short_wait, ends) = mpsc::unbounded_channel::<oneshot::Receiver<()>>();
        let ends = Arc::new(tokio::sync::Mutex::new(ends));
        let short_waits = flows.clone();
        let until_ended = async move || {
            let end = ends.lock().await.recv().await.unwrap();
            short_waits.send("waits").unwrap();
            end.await.unwrap();
            "not yet"
        };
        let mut stopping_too = stopping.clone();
        let until_stop = async move || {
            stopped(&mut stopping_too).await;
            "finished"
        };
        let slow = async || {
            sleep(IMPATIENT.request_timeout * 5).await;
            "slow"
        };
        let endless = async move || {
            let guard = Waiting(flows.clone());
            flows.send("flows").unwrap();
            let chunks = futures_util::stream::repeat_with(move || {
                let _ = &guard;
                Ok::<_, Infallible>("endless ".repeat(1_000))
            });
            Body::from_stream(chunks)
        };
        let chunks = async || {
            let chunks = futures_util::stream::iter(["endless"; 3].map(Ok::<_, Infallible>));
            Body::from_stream(chunks)
        };
        let routes = Router::new()
            .route("/endless", get(endless))
            .route("/", get(async || "hello"))
            .route("/echo", post(async |body: String| body))
            .route("/nothing", get(async || ()))
            .route("/chunks", get(chunks))
            .route("/large", get(async || large()))
            .route("/short-wait", get(until_ended))
            .route("/slow", get(slow))
            .route("/until-stop", get(until_stop))
            .route("/wait", get(wait));
        let metrics = no_metrics();
        let server = Server {
            listeners,
            service: Routes(routes),
            limits,
            metrics,
            end_short_wait,
            stop: stopping,
        };
        Self { address, stop, serving: tokio::spawn(server.run()), waiting, short_wait }
    }

    async fn connect(&self) -> Connection {
        Connection(TcpStream::connect(self.address).await.unwrap())
    }
}

fn no_metrics() -> ConnectionMetrics {
    ConnectionMetrics { open: Gauge::noop(), evicted: Counter::noop(), refused: Counter::noop() }
}

/// An answer that does not fit into the buffers of sockets.
fn large() -> String {
    "0123456789".repeat(2_000_000)
}

struct Connection(TcpStream);

impl Connection {
    async fn send(&mut self, request: &str) {
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// The bytes that arrive, up to and including `end`.
    async fn receive(&mut self, end: &str) -> String {
        let mut received = String::new();
        while !received.ends_with(end) {
            let byte = self.0.read_u8().await.expect(&received);
            received.push(char::from(byte));
        }
        received
    }

    /// The bytes that arrive until the server closes the connection.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        // A reset is an end, too.
        let _ = self.0.read_to_string(&mut rest).await;
        rest
    }
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(client.receive("hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

/// So that TLS can come between the socket and HTTP.
#[tokio::test]
async fn a_connection_runs_over_any_stream_of_bytes() {
    let (mut client, stream) = tokio::io::duplex(1_024);
    let connections = OpenConnections::new(LIMITS, Clock::start(), no_metrics());
    let (_stop, stopping) = watch::channel(false);
    let routes = Routes(Router::new().route("/", get(async || "hello")));
    connections.enter(|slot| {
        tokio::spawn(connection::serve(stream, slot, routes, LIMITS, stopping)).abort_handle()
    });
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
}

/// S15
#[tokio::test]
async fn a_client_that_hangs_up_ends_its_request() {
    let mut server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(server.waiting.recv().await, Some("waits"));
    drop(client);
    assert_eq!(server.waiting.recv().await, Some("dropped"));
}

/// S15: however much the HTTP library has not read yet.
#[tokio::test]
async fn a_client_that_hangs_up_is_noticed_even_if_it_sent_more_than_its_request() {
    for more in ["\r\n", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        for at_once in [true, false] {
            let mut server = Fixture::start(LIMITS).await;
            let mut client = server.connect().await;
            let request = "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n";
            client.send(&[request, if at_once { more } else { "" }].concat()).await;
            assert_eq!(server.waiting.recv().await, Some("waits"));
            client.send(if at_once { "" } else { more }).await;
            drop(client);
            let dropped = timeout(Duration::from_secs(10), server.waiting.recv()).await;
            assert_eq!(dropped, Ok(Some("dropped")), "{more:?}, at once: {at_once}");
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Fixture::start(IMPATIENT).await;
    let mut client = server.connect().await;
    let request = |path| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.send(&[request("/slow"), request("/")].concat()).await;
    client.send(&request("/slow")).await;
    for answer in ["slow", "hello", "slow"] {
        client.receive(&format!("\r\n\r\n{answer}")).await;
    }
}

#[tokio::test]
async fn a_body_of_any_size_arrives_whole() {
    let server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    let body = "0123456789".repeat(100_000);
    let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", body.len());
    let mut client_too = server.connect().await;
    client_too.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    client.send(&[&head, "connection: close\r\n\r\n", &body].concat()).await;
    assert!(client.rest().await.ends_with(&body));
    client_too.receive("hello").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let mut server = Fixture::start(IMPATIENT).await;
    let mut client = server.connect().await;
    client.send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(server.waiting.recv().await, Some("flows"));
    assert_eq!(server.waiting.recv().await, Some("dropped"));
    drop(client);
}

#[tokio::test]
async fn a_client_that_sends_the_head_of_a_request_too_slowly_is_cut_off() {
    let server = Fixture::start(IMPATIENT).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost:").await;
    assert!(!client.rest().await.contains("hello"));
}

#[tokio::test]
async fn a_client_that_sends_the_body_of_a_request_too_slowly_is_cut_off() {
    let server = Fixture::start(IMPATIENT).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n123").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400 Bad Request\r\n"));
}

#[tokio::test]
async fn a_head_has_a_greatest_size() {
    let server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    let name = "x".repeat(8_000);
    client.send(&format!("GET /{name} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    assert!(client.receive("\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    client.send(&format!("GET /{name}{name} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nHeadTooLarge of nothing"), "{answer}");
}

#[tokio::test]
async fn a_request_that_is_not_http_is_answered_with_a_body_and_the_connection_closed() {
    let server = Fixture::start(LIMITS).await;
    let good = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    for bad in ["rubbish\r\n\r\n", "GET / HTTP/9\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"] {
        for before in ["", good] {
            let mut client = server.connect().await;
            if !before.is_empty() {
                client.send(before).await;
                client.receive("hello").await;
            }
            // The answer arrives although the client goes on sending.
            client.send(&[bad, &"x".repeat(1_000_000)].concat()).await;
            let answer = client.rest().await;
            let mut lines = answer.lines();
            assert_eq!(lines.next(), Some("HTTP/1.1 400 Bad Request"), "{bad:?}");
            for line in ["content-length: 18", "connection: close", "", "Request of nothing"] {
                assert!(answer.lines().any(|each| each == line), "{bad:?}: {answer}");
            }
            assert!(lines.any(|line| line.starts_with("date: ")), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_client_that_begins_with_http_2_is_answered_in_http_1() {
    let server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("Request of nothing"), "{answer}");
}

/// Also if both are in one packet: the error is answered after the valid request.
#[tokio::test]
async fn a_request_that_is_not_http_spoils_no_earlier_answer() {
    let server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\nrubbish\r\n\r\n").await;
    let answers = client.rest().await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 1, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 400 Bad Request\r\n").count(), 1, "{answers}");
}

/// RFC 9112, section 3.2.
#[tokio::test]
async fn a_request_names_its_host_exactly_once() {
    let server = Fixture::start(LIMITS).await;
    for head in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n"] {
        let mut client = server.connect().await;
        client.send(head).await;
        let answer = client.receive("Host of /").await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    }
    let mut old = server.connect().await;
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.rest().await.ends_with("hello"));
}

/// The library writes each kind in another way; none may be taken for its own answer to a broken head.
#[tokio::test]
async fn answers_of_every_kind_arrive_whole() {
    let mut server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(client.receive("\r\n\r\n").await.contains("content-length: 5\r\n"));
        client.send("GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(client.receive("\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
        client.send("GET /chunks HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let chunks = client.receive("\r\n0\r\n\r\n").await;
        assert_eq!(chunks.matches("endless").count(), 3);
        client.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
        client.receive("\r\n\r\n").await;
        let mut body = vec![0; large().len()];
        client.0.read_exact(&mut body).await.unwrap();
        assert!(body == large().as_bytes());
        client.send("HEAD /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
        client.receive("\r\n\r\n").await;
        assert_eq!(server.waiting.recv().await, Some("flows"));
        assert_eq!(server.waiting.recv().await, Some("dropped"));
        client.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
        client.receive("HTTP/1.1 100 Continue\r\n\r\n").await;
        client.send("echo").await;
        client.receive("\r\n\r\necho").await;
    }
}

#[tokio::test]
async fn a_connection_is_closed_when_it_has_been_idle_for_too_long() {
    let server = Fixture::start(IMPATIENT).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    client.receive("hello").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_request_may_wait_for_longer_than_it_may_take_to_arrive() {
    let server = Fixture::start(IMPATIENT).await;
    let mut client = server.connect().await;
    client.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    client.receive("slow").await;
}

/// Although the client goes on sending.
#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_arrives() {
    let server = Fixture::start(LIMITS).await;
    let body = "0".repeat(5_000_000);
    for (path, status) in [("/nowhere", 404), ("/echo", 413)] {
        for framing in ["content-length: 5000000", "transfer-encoding: chunked"] {
            let mut client = server.connect().await;
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n");
            let chunk = if framing.starts_with('t') { "4c4b40\r\n" } else { "" };
            client.send(&[&head, chunk, &body].concat()).await;
            let answer = client.rest().await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_rest_of_a_refused_body_is_discarded_up_to_a_limit() {
    let server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    client.send("POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n").await;
    let chunk = vec![0; 1 << 20];
    let mut sent = 0;
    while client.0.write_all(&chunk).await.is_ok() {
        sent += 1;
    }
    assert!((32..80).contains(&sent), "{sent} MiB");
}

/// S15: otherwise it could hang up unnoticed.
#[tokio::test]
async fn a_client_that_sends_a_lot_behind_its_waiting_request_is_cut_off() {
    let mut server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(server.waiting.recv().await, Some("waits"));
    // It may be cut off before it has sent everything.
    let _ = client.0.write_all(&[b'\n'; 200_000]).await;
    assert_eq!(server.waiting.recv().await, Some("dropped"));
}

#[tokio::test]
async fn when_the_server_stops_requests_may_finish() {
    let server = Fixture::start(LIMITS).await;
    let [mut busy, mut idle] = [server.connect().await, server.connect().await];
    busy.send("GET /until-stop HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.receive("hello").await;
    server.stop.send_replace(true);
    assert!(busy.rest().await.ends_with("finished"));
    assert_eq!(idle.rest().await, "");
    server.serving.await.unwrap();
    TcpStream::connect(server.address).await.unwrap_err();
}

#[tokio::test]
async fn when_the_server_stops_it_waits_only_for_a_moment() {
    let mut server = Fixture::start(LIMITS).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(server.waiting.recv().await, Some("waits"));
    drop(server.stop);
    timeout(Duration::from_secs(1), server.serving).await.unwrap().unwrap();
    assert_eq!(client.rest().await, "");
}
