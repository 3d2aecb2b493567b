//! Peers and locks when something goes wrong between them and the real routes.

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

/// Longer than anything takes here.
const LONG: Duration = Duration::from_secs(20);

/// A mutex `A`, and a semaphore `B` of five above it.
fn routes() -> Router {
    let semaphore =
        |max, level| SemaphoreConfig { max: Count::new(max).unwrap(), level: Level(level) };
    let semaphores = [("A".to_owned(), semaphore(1, 0)), ("B".to_owned(), semaphore(5, 1))];
    throttle_http::routes(Handle::start(Settings::default(), &BTreeMap::from(semaphores)))
}

/// Serves `answer`, and returns a client of it.
async fn served<F>(answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static) -> Client
where
    F: Future<Output = Response> + Send,
{
    let (address, _) = serve(Router::new().fallback(answer)).await;
    client(&format!("http://{address}")).build().unwrap()
}

/// A client of a server where nothing goes wrong.
async fn sound() -> Client {
    let (address, _) = serve(routes()).await;
    client(&format!("http://{address}")).build().unwrap()
}

#[tokio::test]
async fn a_name_that_nobody_can_ask_for_is_refused_at_once_and_does_no_harm() {
    let ann = Peer::new(&sound().await);
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
async fn whoever_hangs_up_while_the_request_is_on_its_way_leaves_no_lock_behind() {
    let throttle = sound().await;
    let ann = Peer::new(&throttle);
    for round in 0..300 {
        let mut asking = Box::pin(ann.lock("A").into_future());
        tokio::select! {
            biased;
            lock = &mut asking => lock.unwrap().release().await.unwrap(),
            () = spin(Duration::from_micros(round * 37 % 600)) => {}
        }
        drop(asking);
        // Comes after the withdrawal. Nobody may take one of a higher level who still holds `A`.
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
async fn a_release_after_a_thread_was_blocked_for_the_whole_lease_says_that_the_lock_was_lost() {
    let throttle = sound().await;
    let ann = Peer::builder(&throttle).lease(Duration::from_millis(200)).build();
    let lock = ann.lock("A").await.unwrap();
    // This is what one must not do in a task.
    let start = now();
    while start.elapsed() < Duration::from_millis(250) {}
    assert_eq!(tokio::time::timeout(LONG, lock.release()).await.unwrap(), Err(Lost::Expired));
}

#[tokio::test]
async fn a_lock_that_was_lost_while_a_thread_was_blocked_is_not_held_already() {
    let throttle = sound().await;
    let ann = Peer::builder(&throttle).lease(Duration::from_millis(200)).build();
    let lock = ann.lock("A").await.unwrap();
    let start = now();
    while start.elapsed() < Duration::from_millis(250) {}
    let again = ann.lock("A").wait_at_most(LONG).await.unwrap();
    assert_ne!(lock.peer_id(), again.peer_id());
    assert!(!lock.is_held());
}

#[tokio::test]
async fn an_answer_that_nobody_understands_is_an_error_rather_than_a_reason_to_ask_without_end() {
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
        panic!("that is what it was told");
    };
    assert!(asked.load(Ordering::Relaxed) < 10);
}

#[tokio::test]
async fn nobody_believes_to_have_more_than_a_shrink_has_left_whose_answer_got_lost() {
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
async fn a_release_is_repeated_that_fails_within_the_server() {
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

/// Somewhere between a client and a server, where the first request of some kind gets stuck. It is
/// delivered when the test says so.
#[derive(Clone)]
struct StuckProxy {
    server: Arc<Mutex<Router>>,
    holds_back: fn(&Request) -> bool,
    /// Whether the connection breaks meanwhile, so that the client does not hear of the answer.
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

    /// Delivers what was cut off, and returns the status of the answer that nobody hears.
    async fn deliver(&self) -> u16 {
        let late = self.held_back.lock().unwrap().take().expect("something was held_back");
        self.server().oneshot(late).await.unwrap().status().as_u16()
    }

    /// How many requests of this kind came until now.
    fn asked(&self, method: &Method) -> usize {
        self.asked.lock().unwrap().iter().filter(|it| *it == method).count()
    }
}

/// D5, D8.
#[tokio::test]
async fn a_release_that_arrives_late_does_not_free_what_was_locked_again() {
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
async fn a_request_for_a_lock_that_arrives_late_takes_nothing() {
    let proxy = StuckProxy::new(true, |request| request.method() == Method::PUT);
    let throttle = proxy.client().await;
    let ann = Peer::new(&throttle);
    ann.lock("A").await.unwrap().release().await.unwrap();
    assert_eq!(proxy.deliver().await, 409);
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
    drop(ann);
}

/// D20. Nothing resurrects a peer that was removed.
#[tokio::test]
async fn a_restore_that_arrives_late_does_not_bring_back_a_peer_that_was_closed() {
    let proxy = StuckProxy::new(true, |request| request.uri().path() == "/restore");
    let throttle = proxy.client().await;
    let ann = Peer::builder(&throttle).heartbeat_every(Duration::from_millis(20)).build();
    let lock = ann.lock("A").await.unwrap();
    // The server is started again, and knows nobody.
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
async fn a_request_for_a_lock_that_another_request_overtakes_is_sent_again() {
    let proxy = StuckProxy::new(false, |request| request.uri().path().ends_with("/A"));
    let ann = Peer::new(&proxy.client().await);
    let outer = ann.lock("B").await.unwrap();
    let asking = ann.lock("A").into_future();
    let overtaking = async {
        proxy.stuck.notified().await;
        outer.release().await.unwrap();
        proxy.go.notify_one();
    };
    let (inner, ()) = tokio::join!(asking, overtaking);
    inner.unwrap().release().await.unwrap();
    assert_eq!(proxy.asked(&Method::PUT), 3);
}

#[tokio::test]
async fn a_lock_that_was_dropped_is_no_reason_to_refuse_one_of_a_higher_level() {
    let proxy = StuckProxy::new(false, |request| request.method() == Method::DELETE);
    let ann = Peer::new(&proxy.client().await);
    drop(ann.lock("A").await.unwrap());
    proxy.stuck.notified().await;
    let mut asking = Box::pin(ann.lock("B").into_future());
    tokio::select! {
        biased;
        refused = &mut asking => panic!("{refused:?}"),
        () = spin(Duration::from_millis(50)) => {}
    }
    assert_eq!(proxy.asked(&Method::PUT), 1);
    proxy.go.notify_one();
    asking.await.unwrap().release().await.unwrap();
}

/// D8.
#[tokio::test]
async fn who_has_given_up_does_not_ask_again_when_it_turns_out_that_the_request_came_late() {
    let proxy = StuckProxy::new(false, |request| request.method() == Method::PUT);
    let throttle = proxy.client().await;
    let ann = Peer::new(&throttle);
    tokio::select! {
        _ = ann.lock("A").into_future() => panic!("it is stuck"),
        () = proxy.stuck.notified() => {}
    }
    // Its withdrawal arrives first.
    while proxy.asked(&Method::DELETE) == 0 {
        tokio::task::yield_now().await;
    }
    proxy.go.notify_one();
    // Comes after all of that.
    drop(ann.lock("B").wait_at_most(LONG).await.unwrap());
    assert_eq!(proxy.asked(&Method::PUT), 2);
    assert_eq!(throttle.remainder("A").await.unwrap(), 1);
}

#[tokio::test]
async fn who_gives_up_while_the_peer_is_made_leaves_none_behind() {
    let proxy = StuckProxy::new(false, |request| request.uri().path() == "/new_peer");
    let throttle = proxy.client().await;
    let ann = Peer::new(&throttle);
    tokio::select! {
        _ = ann.lock("A").into_future() => panic!("it is stuck"),
        () = proxy.stuck.notified() => {}
    }
    let closing = tokio::spawn(ann.close());
    proxy.go.notify_one();
    tokio::time::timeout(LONG, closing).await.unwrap().unwrap();
    assert_eq!((proxy.asked(&Method::POST), proxy.asked(&Method::DELETE)), (1, 1));
    assert_eq!(throttle.peers().await.unwrap(), []);
}

#[test]
fn whose_runtime_is_gone_does_not_wait_for_what_it_would_have_done() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (server, short_lived) = (runtime(), runtime());
    let throttle = server.block_on(sound());
    let (ann, lock) = short_lived.block_on(async {
        let ann = Peer::new(&throttle);
        let lock = ann.lock("A").await.unwrap();
        (ann, lock)
    });
    drop(short_lived);
    server.block_on(async {
        let farewell = async {
            // Nobody is there to release it, and nobody says that it is done.
            assert_eq!(lock.release().await, Err(Lost::Closed));
            assert!(matches!(ann.lock("B").await, Err(LockError::Lost { .. })));
            ann.close().await;
        };
        tokio::time::timeout(LONG, farewell).await.unwrap();
    });
}

/// A server that finds every release stale for a while, whatever its number.
#[tokio::test]
async fn a_release_that_is_called_stale_is_repeated_until_it_is_heard() {
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

/// T8. The lock was given up while the server knew nobody, and the restore was on its way.
#[tokio::test]
async fn a_restore_that_arrives_after_the_release_does_not_take_the_lock_again() {
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
async fn however_many_locks_are_released_at_once_none_stays_behind() {
    let names = || (0..64).map(|level| (format!("S{level}"), level));
    let semaphores = names()
        .map(|(name, level)| (name, SemaphoreConfig { max: Count::ONE, level: Level(level) }));
    let handle = Handle::start(Settings::default(), &semaphores.collect());
    let (routes, arrived) = (throttle_http::routes(handle), Arc::new(AtomicU64::new(0)));
    let throttle = served(move |request: Request| {
        let (routes, arrived) = (routes.clone(), Arc::clone(&arrived));
        async move {
            if request.method() == Method::DELETE {
                // Some in the order in which they came, and some not.
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

/// Somebody else has used the greatest number there is, so no greater one can follow.
#[tokio::test]
async fn a_number_that_cannot_be_exceeded_hinders_nobody() {
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
async fn a_network_that_is_slow_but_sound_keeps_the_lock() {
    let routes = routes();
    let throttle = served(move |request: Request| {
        let routes = routes.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(330)).await;
            routes.oneshot(request).await.unwrap()
        }
    });
    // So an answer takes longer than the sixth of it for which one is waited at first.
    let lease = Duration::from_millis(1_800);
    let ann = Peer::builder(&throttle.await).lease(lease).build();
    let lock = ann.lock("A").await.unwrap();
    let lost = tokio::time::timeout(2 * lease, lock.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
}

#[tokio::test]
async fn a_url_that_falls_silent_is_left_in_time() {
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

/// The server is the same by both URLs, and the first one falls silent while a request waits there.
#[tokio::test]
async fn who_waits_at_a_url_that_falls_silent_asks_at_the_one_that_keeps_the_peer_alive() {
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
