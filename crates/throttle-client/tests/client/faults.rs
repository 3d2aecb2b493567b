//! Peers and locks when a fault happens between them and the real routes.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::Request, http::Method, response::Response};
use futures_util::future::join_all;
use throttle_client::{Client, Error, Lock, LockError, Lost, Peer};
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::scripted_server::{Cut, answer, client, serve};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(20);

/// A mutex `A`, and a semaphore `B` with a maximum of five and a higher level.
fn routes() -> Router {
    let semaphore =
        |max, level| SemaphoreConfig { max: Count::new(max).unwrap(), level: Level(level) };
    let semaphores = [("A".to_owned(), semaphore(1, 0)), ("B".to_owned(), semaphore(5, 1))];
    throttle_http::routes(Handle::start(Settings::default(), &BTreeMap::from(semaphores)))
}

/// Serves `answer`. Returns a client of it.
async fn served<F>(answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static) -> Client
where
    F: Future<Output = Response> + Send,
{
    let (address, _) = serve(Router::new().fallback(answer)).await;
    client(&format!("http://{address}")).build().unwrap()
}

/// A client of a server without faults.
async fn faultless() -> Client {
    let (address, _) = serve(routes()).await;
    client(&format!("http://{address}")).build().unwrap()
}

#[tokio::test]
async fn an_invalid_name_is_refused_at_once_and_does_not_end_the_peer() {
    let ann = Peer::new(&faultless().await);
    for name in ["", ".", ".."] {
        let refused = ann.lock(name).await.unwrap_err();
        let LockError::Failed { source: Error::InvalidName { name: it, .. }, .. } = refused else {
            panic!("{refused}")
        };
        assert_eq!(it, name);
    }
    drop(ann.lock("A").wait_at_most(LONG).await.unwrap());
}

/// D8, T6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_dropped_in_flight_leaves_no_lock_behind() {
    let throttle = faultless().await;
    let ann = Peer::new(&throttle);
    for round in 0..300 {
        let mut requesting = Box::pin(ann.lock("A").into_future());
        tokio::select! {
            biased;
            lock = &mut requesting => lock.unwrap().release().await.unwrap(),
            () = spin(Duration::from_micros(round * 37 % 600)) => {}
        }
        drop(requesting);
        // This comes after the withdrawal: `B` is refused while the peer still holds `A`.
        drop(ann.lock("B").wait_at_most(LONG).await.unwrap());
    }
}

async fn spin(span: Duration) {
    let start = now();
    while start.elapsed() < span {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_release_after_a_thread_was_blocked_beyond_the_lease_reports_the_loss() {
    let throttle = faultless().await;
    let ann = Peer::builder(&throttle).lease(Duration::from_millis(200)).build();
    let lock = ann.lock("A").await.unwrap();
    // A task must not block like this.
    let start = now();
    while start.elapsed() < Duration::from_millis(250) {}
    assert_eq!(tokio::time::timeout(LONG, lock.release()).await.unwrap(), Err(Lost::Expired));
}

#[tokio::test]
async fn a_lock_that_was_lost_while_a_thread_was_blocked_is_not_held_already() {
    let throttle = faultless().await;
    let ann = Peer::builder(&throttle).lease(Duration::from_millis(200)).build();
    let lock = ann.lock("A").await.unwrap();
    let start = now();
    while start.elapsed() < Duration::from_millis(250) {}
    let again = ann.lock("A").wait_at_most(LONG).await.unwrap();
    assert_ne!(lock.peer_id(), again.peer_id());
    assert!(!lock.is_held());
}

#[tokio::test]
async fn a_final_answer_of_another_server_is_an_error_and_not_retried() {
    let (routes, asked) = (routes(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    let throttle = served(move |request: Request| {
        let (routes, count) = (routes.clone(), Arc::clone(&count));
        async move {
            if request.method() == Method::PUT {
                count.fetch_add(1, Ordering::Relaxed);
                return answer(401, "text/html", "<html>who are you</html>").into_response().await;
            }
            routes.oneshot(request).await.unwrap()
        }
    });
    let ann = Peer::new(&throttle.await);
    let refused = tokio::time::timeout(LONG, ann.lock("A").into_future()).await.unwrap();
    let LockError::Failed { source: Error::UnexpectedAnswer { status: 401, .. }, .. } =
        refused.unwrap_err()
    else {
        panic!("the answer was 401");
    };
    assert!(asked.load(Ordering::Relaxed) < 10);
}

#[tokio::test]
async fn a_lock_counts_as_shrunk_even_if_the_answer_gets_lost() {
    let routes = routes();
    let throttle = served(move |request: Request| {
        let routes = routes.clone();
        async move {
            let renews = request.uri().query().is_some_and(|it| it.contains("expires_in"));
            let shrinks = request.method() == Method::PUT && !renews;
            let answer = routes.oneshot(request).await.unwrap();
            if shrinks { Cut.into_response().await } else { answer }
        }
    });
    let throttle = throttle.await;
    let (ann, bob) = (Peer::new(&throttle), Peer::new(&throttle));
    let mut lock = ann.lock("B").count(5).await.unwrap();
    lock.shrink(1).await.unwrap_err();
    assert_eq!(lock.count(), 1);
    assert!(bob.lock("B").count(4).try_lock().await.unwrap().is_some());
}

#[tokio::test]
async fn a_release_that_fails_in_the_server_is_repeated() {
    let (routes, is_first) = (routes(), Arc::new(AtomicBool::new(true)));
    let throttle = served(move |request: Request| {
        let (routes, is_first) = (routes.clone(), Arc::clone(&is_first));
        async move {
            if request.method() == Method::DELETE && is_first.swap(false, Ordering::SeqCst) {
                let body = r#"{"type": "urn:throttle:error:internal", "title": "Internal",
                    "status": 500, "detail": "Something went wrong.", "code": "internal"}"#;
                return answer(500, "application/problem+json", body).into_response().await;
            }
            routes.oneshot(request).await.unwrap()
        }
    });
    let throttle = throttle.await;
    let lock = Peer::new(&throttle).lock("A").await.unwrap();
    assert_eq!(lock.release().await, Ok(()));
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
}

/// A proxy that holds back the first request of some kind until the test delivers it.
#[derive(Clone)]
struct StuckProxy {
    server: Arc<Mutex<Router>>,
    holds_back: fn(&Request) -> bool,
    /// Whether the connection breaks meanwhile, so that the client gets no answer.
    cuts: bool,
    asked: Arc<Mutex<Vec<Method>>>,
    has_held_back: Arc<AtomicBool>,
    held_back: Arc<Mutex<Option<Request>>>,
    stuck: Arc<Notify>,
    go: Arc<Notify>,
}

impl StuckProxy {
    fn new(cuts: bool, holds_back: fn(&Request) -> bool) -> Self {
        Self {
            server: Arc::new(Mutex::new(routes())),
            holds_back,
            cuts,
            asked: Arc::default(),
            has_held_back: Arc::default(),
            held_back: Arc::default(),
            stuck: Arc::default(),
            go: Arc::default(),
        }
    }

    fn server(&self) -> Router {
        self.server.lock().unwrap().clone()
    }

    async fn pass(self, request: Request) -> Response {
        self.asked.lock().unwrap().push(request.method().clone());
        if (self.holds_back)(&request) && !self.has_held_back.swap(true, Ordering::SeqCst) {
            self.stuck.notify_one();
            if self.cuts {
                *self.held_back.lock().unwrap() = Some(request);
                return Cut.into_response().await;
            }
            self.go.notified().await;
        }
        self.server().oneshot(request).await.unwrap()
    }

    async fn client(&self) -> Client {
        let proxy = self.clone();
        served(move |request| proxy.clone().pass(request)).await
    }

    /// Delivers the request that was held back, and returns the status of its answer, which the client never
    /// receives.
    async fn deliver(&self) -> u16 {
        let late = self.held_back.lock().unwrap().take().expect("a request was held back");
        self.server().oneshot(late).await.unwrap().status().as_u16()
    }

    /// How many requests with this method have arrived.
    fn asked(&self, method: &Method) -> usize {
        self.asked.lock().unwrap().iter().filter(|it| *it == method).count()
    }
}

/// D5, D8.
#[tokio::test]
async fn a_late_release_does_not_free_a_lock_taken_again() {
    let proxy = StuckProxy::new(true, |request| request.method() == Method::DELETE);
    let throttle = proxy.client().await;
    let ann = Peer::new(&throttle);
    ann.lock("A").await.unwrap().release().await.unwrap();
    let lock = ann.lock("A").await.unwrap();
    assert_eq!(proxy.deliver().await, 409);
    assert_eq!(throttle.remainder("A").await.unwrap(), 0);
    lock.release().await.unwrap();
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
}

/// D5, D8.
#[tokio::test]
async fn a_late_request_takes_no_lock() {
    let proxy = StuckProxy::new(true, |request| request.method() == Method::PUT);
    let throttle = proxy.client().await;
    let ann = Peer::new(&throttle);
    ann.lock("A").await.unwrap().release().await.unwrap();
    assert_eq!(proxy.deliver().await, 409);
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
    drop(ann);
}

/// D20. A removed peer is never restored.
#[tokio::test]
async fn a_late_restore_does_not_revive_a_closed_peer() {
    let proxy = StuckProxy::new(true, |request| request.uri().path() == "/restore");
    let throttle = proxy.client().await;
    let ann = Peer::builder(&throttle).heartbeat_every(Duration::from_millis(20)).build();
    let lock = ann.lock("A").await.unwrap();
    // The server restarts, and knows no peer.
    *proxy.server.lock().unwrap() = routes();
    while throttle.remainder("A").await.unwrap() == 1 {
        assert!(lock.is_held());
        tokio::task::yield_now().await;
    }
    drop(lock);
    ann.close().await;
    assert_eq!(proxy.deliver().await, 409);
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
    assert_eq!(throttle.peers().await.unwrap(), []);
}

#[tokio::test]
async fn an_overtaken_request_for_a_lock_is_sent_again() {
    let proxy = StuckProxy::new(false, |request| request.uri().path().ends_with("/A"));
    let ann = Peer::new(&proxy.client().await);
    let outer = ann.lock("B").await.unwrap();
    let requesting = ann.lock("A").into_future();
    let overtaking = async {
        proxy.stuck.notified().await;
        outer.release().await.unwrap();
        proxy.go.notify_one();
    };
    let (inner, ()) = tokio::join!(requesting, overtaking);
    inner.unwrap().release().await.unwrap();
    assert_eq!(proxy.asked(&Method::PUT), 3);
}

#[tokio::test]
async fn a_dropped_lock_does_not_block_one_of_a_higher_level() {
    let proxy = StuckProxy::new(false, |request| request.method() == Method::DELETE);
    let ann = Peer::new(&proxy.client().await);
    drop(ann.lock("A").await.unwrap());
    proxy.stuck.notified().await;
    let mut requesting = Box::pin(ann.lock("B").into_future());
    tokio::select! {
        biased;
        refused = &mut requesting => panic!("{refused:?}"),
        () = spin(Duration::from_millis(50)) => {}
    }
    assert_eq!(proxy.asked(&Method::PUT), 1);
    proxy.go.notify_one();
    requesting.await.unwrap().release().await.unwrap();
}

/// D8.
#[tokio::test]
async fn a_withdrawn_request_that_is_stale_is_not_sent_again() {
    let proxy = StuckProxy::new(false, |request| request.method() == Method::PUT);
    let throttle = proxy.client().await;
    let ann = Peer::new(&throttle);
    tokio::select! {
        _ = ann.lock("A").into_future() => panic!("the request is held back"),
        () = proxy.stuck.notified() => {}
    }
    // The withdrawal arrives first.
    while proxy.asked(&Method::DELETE) == 0 {
        tokio::task::yield_now().await;
    }
    proxy.go.notify_one();
    // This comes after all other requests.
    drop(ann.lock("B").wait_at_most(LONG).await.unwrap());
    assert_eq!(proxy.asked(&Method::PUT), 2);
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
}

#[tokio::test]
async fn a_request_dropped_while_the_peer_is_created_leaves_no_peer_behind() {
    let proxy = StuckProxy::new(false, |request| request.uri().path() == "/new_peer");
    let throttle = proxy.client().await;
    let ann = Peer::new(&throttle);
    tokio::select! {
        _ = ann.lock("A").into_future() => panic!("the request is held back"),
        () = proxy.stuck.notified() => {}
    }
    let closing = tokio::spawn(ann.close());
    proxy.go.notify_one();
    tokio::time::timeout(LONG, closing).await.unwrap().unwrap();
    assert_eq!((proxy.asked(&Method::POST), proxy.asked(&Method::DELETE)), (1, 1));
    assert_eq!(throttle.peers().await.unwrap(), []);
}

#[test]
fn after_the_runtime_ended_nothing_waits_for_its_tasks() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (server, short_lived) = (runtime(), runtime());
    let throttle = server.block_on(faultless());
    let (ann, lock) = short_lived.block_on(async {
        let ann = Peer::new(&throttle);
        let lock = ann.lock("A").await.unwrap();
        (ann, lock)
    });
    drop(short_lived);
    server.block_on(async {
        let ending = async {
            // No task is left that could release it or report the end.
            assert_eq!(lock.release().await, Err(Lost::Closed));
            assert!(matches!(ann.lock("B").await, Err(LockError::Lost { .. })));
            ann.close().await;
        };
        tokio::time::timeout(LONG, ending).await.unwrap();
    });
}

/// The server refuses the first releases as stale, whatever their sequence number.
#[tokio::test]
async fn a_stale_release_is_repeated_until_the_server_confirms_it() {
    let (routes, left) = (routes(), Arc::new(AtomicU64::new(4)));
    let throttle = served(move |request: Request| {
        let (routes, left) = (routes.clone(), Arc::clone(&left));
        async move {
            let less = |left: u64| left.checked_sub(1);
            if request.method() == Method::DELETE
                && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
            {
                let body = r#"{"type": "urn:throttle:error:stale_request", "title": "Stale request",
                    "status": 409, "detail": "Stale request.", "code": "stale_request"}"#;
                return answer(409, "application/problem+json", body).into_response().await;
            }
            routes.oneshot(request).await.unwrap()
        }
    });
    let throttle = throttle.await;
    let ann = Peer::new(&throttle);
    let lock = ann.lock("A").await.unwrap();
    assert_eq!(tokio::time::timeout(LONG, lock.release()).await.unwrap(), Ok(()));
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
    drop(ann);
}

/// T8. The lock is released while the server does not know the peer and the restore is in flight.
#[tokio::test]
async fn a_restore_after_the_release_does_not_take_the_lock_again() {
    let proxy = StuckProxy::new(true, |request| request.uri().path() == "/restore");
    let throttle = proxy.client().await;
    let often = Duration::from_millis(20);
    let ann = Peer::builder(&throttle).lease(LONG).heartbeat_every(often).build();
    let lock = ann.lock("A").await.unwrap();
    *proxy.server.lock().unwrap() = routes();
    proxy.stuck.notified().await;
    lock.release().await.unwrap();
    assert_eq!(proxy.deliver().await, 409);
    drop(ann.lock("A").wait_at_most(LONG).await.unwrap());
    drop(ann.lock("B").wait_at_most(LONG).await.unwrap());
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
}

/// Locks of one peer are often dropped together, and their releases overtake each other.
#[tokio::test]
async fn many_locks_released_at_once_leave_none_behind() {
    let names = || (0..64).map(|level| (format!("S{level}"), level));
    let semaphores = names()
        .map(|(name, level)| (name, SemaphoreConfig { max: Count::ONE, level: Level(level) }));
    let handle = Handle::start(Settings::default(), &semaphores.collect());
    let (routes, arrived) = (throttle_http::routes(handle), Arc::new(AtomicU64::new(0)));
    let throttle = served(move |request: Request| {
        let (routes, arrived) = (routes.clone(), Arc::clone(&arrived));
        async move {
            if request.method() == Method::DELETE {
                // Lets some releases overtake others.
                let number = arrived.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(number * 37 % 100)).await;
            }
            routes.oneshot(request).await.unwrap()
        }
    });
    let throttle = throttle.await;
    let ann = Peer::new(&throttle);
    let mut locks = Vec::new();
    for (name, _) in names().collect::<Vec<_>>().into_iter().rev() {
        locks.push(ann.lock(&name).await.unwrap());
    }
    for released in join_all(locks.into_iter().map(Lock::release)).await {
        assert_eq!(released, Ok(()));
    }
    let peers = throttle.peers().await.unwrap();
    assert!(peers.iter().all(|peer| peer.held.is_empty()), "{peers:?}");
    assert_eq!(peers.len(), 1);
    drop(ann);
}

/// Another client has used the highest sequence number, so no higher one can follow.
#[tokio::test]
async fn the_highest_sequence_number_does_not_block_later_requests() {
    let (address, _) = serve(routes()).await;
    let throttle = client(&format!("http://{address}")).build().unwrap();
    let ann = Peer::new(&throttle);
    let outer = ann.lock("B").await.unwrap();
    let peer = ann.id().unwrap();
    let url = format!("http://{address}/peers/{peer}/A?sequence=9007199254740991");
    let http = throttle_client::http_client_builder().no_proxy().build().unwrap();
    assert!(http.delete(url).send().await.unwrap().status().is_success());
    let inner = tokio::time::timeout(LONG, ann.lock("A").into_future()).await.unwrap().unwrap();
    inner.release().await.unwrap();
    outer.release().await.unwrap();
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
    assert_eq!(throttle.remainder("B").await.unwrap(), 5);
}

#[tokio::test]
async fn a_slow_network_does_not_lose_the_lock() {
    let routes = routes();
    let throttle = served(move |request: Request| {
        let routes = routes.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(330)).await;
            routes.oneshot(request).await.unwrap()
        }
    });
    // So an answer takes longer than the first timeout, which is a sixth of the lease.
    let lease = Duration::from_millis(1_800);
    let ann = Peer::builder(&throttle.await).lease(lease).build();
    let lock = ann.lock("A").await.unwrap();
    let lost = tokio::time::timeout(2 * lease, lock.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
}

#[tokio::test]
async fn a_url_that_stops_answering_is_abandoned_before_the_lease_ends() {
    let (routes, is_silent) = (routes(), Arc::new(AtomicBool::new(false)));
    let (one, silent) = (routes.clone(), Arc::clone(&is_silent));
    let answer = async move |request: Request| -> Response {
        if silent.load(Ordering::SeqCst) {
            return pending().await;
        }
        one.oneshot(request).await.unwrap()
    };
    let (one, _) = serve(Router::new().fallback(answer)).await;
    let (other, _) = serve(routes).await;
    let throttle = client(&format!("http://{one}")).or_url(format!("http://{other}"));
    let throttle = throttle.build().unwrap();
    let lease = Duration::from_millis(900);
    let ann = Peer::builder(&throttle).lease(lease).build();
    let lock = ann.lock("A").await.unwrap();
    is_silent.store(true, Ordering::SeqCst);
    let lost = tokio::time::timeout(2 * lease, lock.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
}

/// Both URLs belong to the same server, and the first one stops answering while a request waits there.
#[tokio::test]
async fn a_wait_at_a_url_that_stops_answering_moves_to_the_next_url() {
    let (routes, is_silent) = (routes(), Arc::new(AtomicBool::new(false)));
    let (one, silent, stuck) = (routes.clone(), Arc::clone(&is_silent), Arc::new(Notify::new()));
    let waits = Arc::clone(&stuck);
    let answer = async move |request: Request| -> Response {
        let is_wait = request.uri().query().is_some_and(|query| query.contains("block_for"));
        if is_wait {
            waits.notify_one();
        }
        let answer = one.oneshot(request).await.unwrap();
        if silent.load(Ordering::SeqCst) { pending().await } else { answer }
    };
    let (one, _) = serve(Router::new().fallback(answer)).await;
    let (other, _) = serve(routes).await;
    let throttle = client(&format!("http://{one}")).or_url(format!("http://{other}"));
    let throttle = throttle.build().unwrap();
    let held = Peer::new(&client(&format!("http://{other}")).build().unwrap());
    let held = held.lock("A").await.unwrap();
    let ann = Peer::builder(&throttle).lease(Duration::from_millis(900)).build();
    let waiting = tokio::spawn(ann.lock("A").wait_at_most(LONG / 2).into_future());
    stuck.notified().await;
    is_silent.store(true, Ordering::SeqCst);
    held.release().await.unwrap();
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the server and its client run in real time here")]
fn now() -> Instant {
    Instant::now()
}
