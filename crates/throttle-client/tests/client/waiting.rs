//! How long a request for a lock waits, and which error it returns when the time is over.

use std::{
    error::Error as _,
    fmt::Debug,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Request, http::Method, response::Response};
use throttle_client::{Client, Error, LockError, Lost, Peer};
use throttle_http::RequestLimits;
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{
    real_server::{LEASE, LONG, MUTEX, RealServer, now, routes},
    scripted_server::{answer, client, json, serve},
};

const WAIT: Duration = Duration::from_millis(300);

/// A URL where nothing listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A client of a server with these answers, and a counter of its requests.
async fn served<F>(
    answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) -> (Client, Arc<AtomicU64>)
where
    F: Future<Output = Response> + Send,
{
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let answer = move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        answer(request)
    };
    let (address, _) = serve(Router::new().fallback(answer)).await;
    (client(&format!("http://{address}")).build().unwrap(), asked)
}

#[tokio::test]
async fn a_limited_wait_ends_on_time_and_reports_whether_the_server_answered() {
    let server = RealServer::with(MUTEX).await;
    let held = server.quiet_peer().lock("A").await.unwrap();
    let (silent, _) = served(|_| pending()).await;
    let (busy, _) = served(|_| answer(503, "text/plain", "Later.").into_response()).await;
    let away = client(&nowhere().await).build().unwrap();

    // A server that does not answer requests for a lock.
    let inside = routes(MUTEX);
    let (falls_silent, _) = served(move |request: Request| {
        let inside = inside.clone();
        async move {
            if request.method() == Method::PUT {
                return pending().await;
            }
            inside.oneshot(request).await.unwrap()
        }
    })
    .await;

    for (throttle, answers) in [
        (server.client(), true),
        (silent, false),
        (falls_silent, false),
        (busy, false),
        (away, false),
    ] {
        let start = now();
        let in_vain = throttle.lock("A").wait_at_most(WAIT).await.unwrap_err();
        let elapsed = start.elapsed();
        assert!(WAIT <= elapsed && elapsed < 3 * WAIT, "{elapsed:?} {in_vain:?}");
        match in_vain {
            LockError::NotInTime { wait_at_most, .. } if answers => {
                assert_eq!(wait_at_most, WAIT)
            }
            LockError::Unreachable { .. } if !answers => {}
            other => panic!("{throttle:?}: {other:?}"),
        }
    }
    held.release().await.unwrap();
}

#[tokio::test]
async fn an_error_names_the_semaphore_the_server_and_the_last_cause() {
    let url = nowhere().await;
    let throttle = client(&url).build().unwrap();
    for error in [
        throttle.lock("A/b").wait_at_most(WAIT).await.unwrap_err(),
        throttle.lock("A/b").try_lock().await.unwrap_err(),
    ] {
        let shown = error.to_string();
        assert!(shown.contains("\"A/b\"") && shown.contains(&url), "{shown}");
        let LockError::Unreachable { source, .. } = &error else { panic!("{error:?}") };
        assert!(matches!(source, Error::Connect { .. }), "{source:?}");
        assert!(error.source().is_some_and(|source| source.to_string().contains("connect")));
        assert_eq!(error.semaphore(), "A/b");
    }
    let server = RealServer::with(MUTEX).await;
    let held = server.quiet_peer().lock("A").await.unwrap();
    let refused = server.client().lock("B").await.unwrap_err();
    let in_vain = server.client().lock("A").wait_at_most(WAIT).await.unwrap_err();
    let again = held.peer().lock("A").await.unwrap_err();
    for (error, name) in [(refused, "B"), (in_vain, "A"), (again, "A")] {
        let shown = error.to_string();
        assert!(shown.contains(&format!("{name:?}")) && shown.contains(&server.url), "{shown}");
    }
}

#[tokio::test]
async fn try_lock_fails_at_once_if_there_is_no_server() {
    let throttle = client(&nowhere().await).build().unwrap();
    let start = now();
    let refused = throttle.lock("A").try_lock().await;
    assert!(matches!(refused, Err(LockError::Unreachable { .. })), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// Nothing else can run, so the paused time advances at once.
#[tokio::test(start_paused = true)]
async fn try_lock_reports_a_silent_server_as_unreachable() {
    let (throttle, _) = served(|_| pending()).await;
    let bound = Duration::from_millis(5_010);
    let refused = tokio::time::timeout(bound, throttle.lock("A").try_lock()).await.unwrap();
    assert!(matches!(refused, Err(LockError::Unreachable { .. })), "{refused:?}");
}

/// A proxy without a backend answers 404, for example.
#[tokio::test]
async fn a_lock_is_granted_after_a_proxy_had_no_server_for_a_while() {
    for status in [404, 500, 502, 504] {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let (inside, left) = (routes(MUTEX), Arc::new(AtomicU64::new(3)));
            let (throttle, _) = served(move |request: Request| {
                let (inside, left) = (inside.clone(), Arc::clone(&left));
                let is_meant = request.method() == method;
                async move {
                    let less = |left: u64| left.checked_sub(1);
                    let is_away = is_meant
                        && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
                    if is_away {
                        return answer(status, "text/html", "<html></html>").into_response().await;
                    }
                    inside.oneshot(request).await.unwrap()
                }
            })
            .await;
            let lock = throttle.lock("A").wait_at_most(LONG).await.unwrap();
            lock.release().await.unwrap();
            assert_eq!(throttle.peers().await.unwrap(), [], "{status}");
        }
    }
}

/// For example a server whose disk failed and that is about to end.
#[tokio::test]
async fn a_lock_is_granted_by_the_server_that_follows_a_broken_one() {
    for method in [Method::POST, Method::PUT] {
        let (inside, left) = (routes(MUTEX), Arc::new(AtomicU64::new(3)));
        let (throttle, _) = served(move |request: Request| {
            let (inside, left) = (inside.clone(), Arc::clone(&left));
            let is_meant = request.method() == method;
            async move {
                let less = |left: u64| left.checked_sub(1);
                if is_meant && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                    let body = r#"{"type": "urn:throttle:error:internal", "title": "Internal error",
                        "status": 500, "detail": "The server is broken.", "code": "internal"}"#;
                    return answer(500, "application/problem+json", body).into_response().await;
                }
                inside.oneshot(request).await.unwrap()
            }
        })
        .await;
        let lock = throttle.lock("A").wait_at_most(LONG).await.unwrap();
        lock.release().await.unwrap();
        assert_eq!(throttle.peers().await.unwrap(), []);
    }
}

/// The withdrawal of the first request is still in progress.
#[tokio::test]
async fn try_lock_after_a_wait_without_answer_does_not_report_that_the_lock_is_taken() {
    let server = RealServer::with(&[("A", 1, 0), ("B", 1, 0)]).await;
    let ann = server.quiet_peer();
    ann.lock("B").await.unwrap().release().await.unwrap();
    server.stop_answering();
    let in_vain = ann.lock("A").wait_at_most(WAIT / 3).await;
    assert!(matches!(in_vain, Err(LockError::Unreachable { .. })), "{in_vain:?}");
    // Nothing else can run, so the paused time advances at once.
    tokio::time::pause();
    for name in ["A", "B"] {
        let refused = ann.lock(name).try_lock().await;
        assert!(matches!(refused, Err(LockError::Unreachable { .. })), "{refused:?}");
    }

    tokio::time::resume();

    // A request that starts when the server is back gets an answer about the lock, not about the withdrawal.
    let requesting = tokio::spawn(ann.lock("A").try_lock());
    tokio::task::yield_now().await;
    server.restart_with(&[("A", 1, 0), ("B", 1, 0)]);
    let lock = requesting.await.unwrap().unwrap().expect("the lock is free");
    lock.release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_allows_only_short_waits_is_asked_more_often() {
    let limits = RequestLimits { block_for: WAIT, ..RequestLimits::default() };
    let server = RealServer::with_limits(MUTEX, limits).await;
    let held = server.quiet_peer().lock("A").await.unwrap();
    let ann = server.quiet_peer();
    for _ in 0..2 {
        let waiting = tokio::spawn(ann.lock("A").into_future());
        server.until_somebody_waits().await;
        let start = now();
        server.until(|_| start.elapsed() > 2 * WAIT).await;
        assert!(!waiting.is_finished());
        waiting.abort();
        server.until(|peers| peers.iter().all(|peer| peer.pending.is_none())).await;
    }
    let waiting = tokio::spawn(ann.lock("A").wait_at_most(LONG).into_future());
    server.until_somebody_waits().await;
    held.release().await.unwrap();
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_answers_too_early_is_asked_again_after_pauses() {
    let pending = r#"{"peer_id": 42, "semaphore": "A", "count": 1, "acquired": false}"#;
    let (throttle, asked) = served(move |request: Request| async move {
        match *request.method() {
            Method::POST => json(200, "42").into_response().await,
            Method::PUT => json(202, pending).into_response().await,
            _ => answer(200, "text/plain", "Ok").into_response().await,
        }
    })
    .await;
    let in_vain = throttle.lock("A").wait_at_most(3 * WAIT).await;
    assert!(matches!(in_vain, Err(LockError::NotInTime { .. })), "{in_vain:?}");
    assert!(asked.load(Ordering::SeqCst) < 20, "{asked:?}");
}

/// Each wait is limited to a third of the lease.
#[tokio::test]
async fn a_waiting_peer_without_heartbeats_sends_only_a_few_requests() {
    let inside = routes(MUTEX);
    let (throttle, asked) = served(move |request| {
        let inside = inside.clone();
        async move { inside.oneshot(request).await.unwrap() }
    })
    .await;
    let held = Peer::builder(&throttle).lease(LONG).build().lock("A").await.unwrap();
    let ann = Peer::builder(&throttle).lease(LEASE).heartbeat(false).build();
    let in_vain = ann.lock("A").wait_at_most(2 * WAIT).await;
    assert!(matches!(in_vain, Err(LockError::NotInTime { .. })), "{in_vain:?}");
    assert!(asked.load(Ordering::SeqCst) < 20, "{asked:?}");
    held.release().await.unwrap();
}

/// Records the warnings of the client.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target() == "throttle::client"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_limit_continues_and_logs_a_warning_now_and_then() {
    let url = nowhere().await;
    let throttle = client(&url).build().unwrap();
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let hour = Duration::from_secs(3_600);
    let waiting = tokio::time::timeout(hour, throttle.lock("A").into_future());
    assert!(waiting.await.is_err(), "the request continues");
    let said = warnings.0.lock().unwrap().clone();
    assert!((60..=121).contains(&said.len()), "{}", said.len());
    for line in said {
        assert!(line.contains("semaphore=\"A\"") && line.contains(&url), "{line}");
    }
}

#[tokio::test]
async fn a_peer_that_holds_nothing_can_end_without_a_warning() {
    let server = RealServer::with(MUTEX).await;
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let ann = Peer::builder(&server.client()).lease(LEASE / 2).heartbeat(false).build();
    ann.lock("A").await.unwrap().release().await.unwrap();
    assert_eq!(ann.lost().await, Lost::Expired);
    assert_eq!(*warnings.0.lock().unwrap(), [""; 0]);

    let lock = ann.lock("A").wait_at_most(LONG).await.unwrap();
    assert_eq!(lock.lost().await, Lost::Expired);
    assert_eq!(warnings.0.lock().unwrap().len(), 1);
}

/// Reads the peer on every event.
#[derive(Clone, Default)]
struct PeerInspector(Arc<Mutex<Option<Peer>>>, Arc<AtomicU64>);

impl Subscriber for PeerInspector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "throttle::client"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        if let Some(peer) = &*self.0.lock().unwrap() {
            let _ = (peer.id(), peer.time_left());
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Reading the peer within a subscriber would deadlock if events were logged while its state is locked.
#[test]
fn a_log_subscriber_can_read_the_peer() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = RealServer::with(MUTEX).await;
            let inspector = PeerInspector::default();
            let _guard = tracing::subscriber::set_default(inspector.clone());
            let ann = server.watchful_peer();
            *inspector.0.lock().unwrap() = Some(ann.clone());
            let lock = ann.lock("A").await.unwrap();
            server.restart_with(MUTEX);
            ann.renew().await.unwrap();
            assert!(server.client().remove_peer(lock.peer_id()).await.unwrap());
            server.stop_answering();
            let ended = Peer::builder(&server.client()).lease(LEASE / 2).build();
            ended.lock("A").wait_at_most(LEASE).await.unwrap_err();
            server.restart_with(&[("B", 1, 0)]);
            lock.lost().await;
            *inspector.0.lock().unwrap() = None;
            assert!(inspector.1.load(Ordering::SeqCst) > 5);
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(LONG).expect("it does not deadlock");
}

#[tokio::test]
async fn a_wait_longer_than_the_lease_keeps_the_lock_at_the_grant() {
    for shows_signs_of_life in [true, false] {
        let server = RealServer::with(MUTEX).await;
        let held = server.quiet_peer().lock("A").await.unwrap();
        let builder = Peer::builder(&server.client()).lease(LEASE);
        let ann = builder.heartbeat(shows_signs_of_life).build();
        let waiting = tokio::spawn(ann.lock("A").wait_at_most(LONG).into_future());
        server.until_somebody_waits().await;
        let start = now();
        server.until(|_| start.elapsed() > 2 * LEASE).await;
        assert!(!waiting.is_finished());
        held.release().await.unwrap();
        let lock = waiting.await.unwrap().unwrap();
        assert!(lock.time_left() > LEASE / 2, "{:?}", lock.time_left());
        let start = now();
        server.until(|_| start.elapsed() > LEASE / 3).await;
        assert_eq!(lock.check(), Ok(()));
        lock.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_peer_without_heartbeats_never_reports_a_lock_as_held_beyond_its_lease() {
    let server = RealServer::with(MUTEX).await;
    let ann = Peer::builder(&server.client()).lease(LEASE / 2).heartbeat(false).build();
    let start = now();
    let lock = ann.lock("A").await.unwrap();
    let answered = now();
    loop {
        // Read the time first: a lock that is held after this was held at that time.
        let elapsed = answered.elapsed();
        if !lock.is_held() {
            break;
        }
        assert!(elapsed < LEASE / 2);
        tokio::task::yield_now().await;
    }
    assert!(LEASE / 3 < start.elapsed());
    assert_eq!(lock.lost().await, Lost::Expired);
    assert_eq!(ann.time_left(), Duration::ZERO);

    // A peer stays confirmed as long as the program renews it.
    let lock = ann.lock("A").wait_at_most(LONG).await.unwrap();
    let start = now();
    while start.elapsed() < LEASE {
        ann.renew().await.unwrap();
    }
    assert_eq!(lock.release().await, Ok(()));
}

#[tokio::test]
async fn a_request_can_be_awaited_in_another_task() {
    let server = RealServer::with(&[("A", 2, 0)]).await;
    let throttle = server.client();
    let request = throttle.lock(String::from("A")).count(2).wait_at_most(LONG);
    drop(throttle);
    let lock = tokio::spawn(request.into_future()).await.unwrap().unwrap();
    assert_eq!((lock.semaphore(), lock.count()), ("A", 2));
    lock.release().await.unwrap();
}
