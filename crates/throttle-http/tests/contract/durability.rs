//! A service with a store: what its answers show before a change is durable, after a restart, and when the store
//! fails.

use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use throttle_runtime::{Batch, Handle, Meta, Record, Settings, Store, StoreError};
use throttle_wire::{Code, HeldGrant, LockAnswer, PeerStatus, Problem, SemaphoreOverview};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    stores::Disk,
    support::{Answer, Server, request, run_ready_tasks, semaphores},
};

const SEMAPHORES: &[(&str, u64, i32)] = &[("A", 1, 0), ("B", 1, 0), ("C", 1, 0)];

/// A service that begins with what the disk has, and writes to it.
fn start(disk: &Disk) -> Server {
    start_with(disk.open(), SEMAPHORES)
}

fn start_with(store: Box<dyn Store>, configured: &[(&str, u64, i32)]) -> Server {
    let configured = semaphores(configured);
    let builder = Handle::builder(Settings::default(), &configured).store(store);
    Server::of(builder.start().expect("the disk is sound"))
}

/// Decides whether a store writes.
#[derive(Clone, Debug, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum GateState {
    #[default]
    Open,
    /// Writes wait.
    Closed,
    /// Writes fail.
    Broken,
}

/// A store behind a gate.
struct GatedStore {
    store: Box<dyn Store>,
    gate: Gate,
}

impl Gate {
    fn set(&self, new: GateState) {
        *self.0.0.lock().expect("nothing panics with this lock") = new;
        self.0.1.notify_all();
    }

    fn pass(&self) -> Result<(), StoreError> {
        let (state, changed) = &*self.0;
        let state = state.lock().expect("nothing panics with this lock");
        let state = changed.wait_while(state, |state| *state == GateState::Closed);
        match *state.expect("nothing panics with this lock") {
            GateState::Broken => Err(StoreError::new("the disk of the test is broken")),
            GateState::Closed | GateState::Open => Ok(()),
        }
    }
}

impl Store for GatedStore {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        self.store.load(receive)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.gate.pass()?;
        self.store.write(batch)
    }

    fn max_batch(&self) -> usize {
        self.store.max_batch()
    }
}

/// A store that was made earlier than it says.
struct AgedStore {
    store: Box<dyn Store>,
    age: Duration,
}

impl Store for AgedStore {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        let mut meta = self.store.load(receive)?;
        if let Some(meta) = &mut meta {
            meta.made_at.0 -= u64::try_from(self.age.as_millis()).expect("a moderate age");
        }
        Ok(meta)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.store.write(batch)
    }

    fn max_batch(&self) -> usize {
        self.store.max_batch()
    }

    fn blocks(&self) -> bool {
        self.store.blocks()
    }
}

/// Sends a request in a task of its own.
fn send(server: &Server, request: Request<Body>) -> JoinHandle<Answer> {
    let server = server.clone();
    tokio::spawn(async move { server.send(request).await })
}

/// A service on a disk that waits, after a change. Nobody may see that change.
struct Pending {
    gate: Gate,
    server: Server,
    /// Holds `A`.
    holder: u64,
    token: u64,
    /// Waits for `A` behind the holder, with an open request.
    waiter: u64,
    waiting: JoinHandle<Answer>,
    /// Waits for `A` behind the waiter.
    last: u64,
    /// Holds and awaits nothing.
    idle: u64,
    /// Holds `B`, and no change is about it.
    other: u64,
    /// The path of the question about its token.
    other_fencing: String,
}

impl Pending {
    async fn new() -> Self {
        let gate = Gate::default();
        let store = GatedStore { store: Disk::default().open(), gate: gate.clone() };
        let configured = semaphores(SEMAPHORES);
        let builder = Handle::builder(Settings::default(), &configured).store(Box::new(store));
        let server = Server::start_with_metrics(|observer| {
            builder.observer(observer).start().expect("the disk is new")
        });
        let holder = server.join().await;
        let lock = server.put(&format!("/peers/{holder}/A"), "1").await.json::<LockAnswer>();
        let waiter = server.join().await;
        let waiting = server.wait(waiter, "A?block_for=1h").await;
        let last = server.join().await;
        assert_eq!(server.put(&format!("/peers/{last}/A"), "1").await.status, 202);
        let (idle, other) = (server.join().await, server.join().await);
        let other_lock = server.put(&format!("/peers/{other}/B"), "1").await.json::<LockAnswer>();
        let other_token = other_lock.fencing_token.expect("the lock is held");
        let other_fencing = format!("/semaphores/B/fencing/{other_token}");
        let token = lock.fencing_token.expect("the lock is held");
        gate.set(GateState::Closed);
        Self { gate, server, holder, token, waiter, waiting, last, idle, other, other_fencing }
    }

    /// Every way to look at the state, and requests that are refused or repeated because of it.
    fn looks(&self) -> Vec<Request<Body>> {
        let Self { holder, token, waiter, idle, other, .. } = self;
        let mut looks = Vec::new();
        for path in [
            "/peers".to_owned(),
            "/peers/".to_owned(),
            format!("/peers/{holder}"),
            format!("/peers/{waiter}"),
            format!("/peers/{other}"),
            format!("/peers/{waiter}/is_acquired"),
            "/peers/5".to_owned(),
            "/remainder?semaphore=A".to_owned(),
            "/semaphores".to_owned(),
            "/semaphores/A".to_owned(),
            fencing(token + 1),
        ] {
            looks.push(request(Method::GET, &path, ""));
            looks.push(request(Method::HEAD, &path, ""));
        }
        let page = Request::get("/").header(header::ACCEPT, "text/html").body(Body::empty());
        looks.push(page.expect("a proper request"));
        let restore =
            |peer: u64| format!(r#"{{"expires_in":"1m","peer_id":{peer},"acquired":{{"B":1}}}}"#);
        for (method, path, body) in [
            (Method::PUT, "/peers/5".to_owned(), r#"{"expires_in":"1m"}"#.to_owned()),
            (Method::DELETE, "/peers/5".to_owned(), String::new()),
            (Method::PUT, format!("/peers/{other}/B"), "1".to_owned()),
            (Method::DELETE, format!("/peers/{other}/A"), String::new()),
            (Method::PUT, format!("/peers/{idle}/A"), "2".to_owned()),
            (Method::POST, "/restore".to_owned(), restore(*other)),
            (Method::POST, "/restore".to_owned(), restore(*holder)),
        ] {
            looks.push(request(method, &path, &body));
        }
        looks
    }

    /// Makes a change, and checks that nobody sees it before the disk goes on. The change `is_about` these peers.
    async fn check(self, change: Request<Body>, is_about: &[u64]) -> (Answer, Answer) {
        let what = format!("{} {}", change.method(), change.uri());
        let change = send(&self.server, change);
        run_ready_tasks().await;
        assert!(!change.is_finished(), "{what} is answered before it is durable");
        let mut looks = Vec::new();
        for look in self.looks() {
            let name = format!("{} {}", look.method(), look.uri());
            looks.push((name, send(&self.server, look)));
        }
        if what.contains(&self.holder.to_string()) {
            let fencing = request(Method::GET, &fencing(self.token), "");
            looks.push(("the token of the holder".to_owned(), send(&self.server, fencing)));
        }
        for peer in is_about {
            let path = format!("/peers/{peer}");
            let heartbeat = request(Method::PUT, &path, r#"{"expires_in":"1m"}"#);
            looks.push((format!("heartbeat of {peer}"), send(&self.server, heartbeat)));
        }
        run_ready_tasks().await;
        for (name, look) in &looks {
            assert!(!look.is_finished(), "{name} shows {what} before it is durable");
        }
        assert!(!self.waiting.is_finished(), "a waiter learns of {what} before it is durable");
        self.check_that_the_rest_is_answered(&what).await;
        self.gate.set(GateState::Open);
        for (_, look) in looks {
            answer(look).await;
        }
        let change = answer(change).await;
        let release = request(Method::DELETE, &format!("/peers/{}/A", self.holder), "");
        self.server.send(release).await;
        (change, answer(self.waiting).await)
    }

    /// What shows nothing of the change need not wait for the disk.
    async fn check_that_the_rest_is_answered(&self, what: &str) {
        let other = format!("/peers/{}", self.other);
        let heartbeat = request(Method::PUT, &other, r#"{"expires_in":"1m"}"#);
        let fencing = request(Method::GET, &self.other_fencing, "");
        for request in [heartbeat, fencing] {
            let look = send(&self.server, request);
            run_ready_tasks().await;
            assert!(look.is_finished(), "a peer that {what} is not about waits for it");
            assert_eq!(answer(look).await.status, 200);
        }
        for path in ["/", "/favicon.ico", "/health", "/ready", "/version"] {
            let look = send(&self.server, request(Method::HEAD, path, ""));
            run_ready_tasks().await;
            assert!(look.is_finished(), "{path} waits for {what}");
        }
        // Metrics show when a disk hangs. A separate thread writes them.
        let metrics = answer(send(&self.server, request(Method::GET, "/metrics", ""))).await;
        assert_eq!(metrics.status, 200);
    }
}

fn fencing(token: u64) -> String {
    format!("/semaphores/A/fencing/{token}")
}

/// The answer, which must not take long.
async fn answer(request: JoinHandle<Answer>) -> Answer {
    let answer = timeout(Duration::from_secs(60), request).await;
    answer.expect("an answer comes when the disk goes on").expect("no handler panics")
}

/// D1
#[tokio::test]
async fn no_answer_shows_a_change_before_it_is_durable() {
    for &(method, path, body, is_about) in CHANGES {
        let pending = Pending::new().await;
        let Pending { holder, waiter, last, idle, .. } = pending;
        let mut about = Vec::new();
        let mut path = path.to_owned();
        for (name, peer) in [("holder", holder), ("waiter", waiter), ("last", last), ("idle", idle)]
        {
            path = path.replace(name, &peer.to_string());
            about.extend(is_about.contains(&name).then_some(peer));
        }
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (changed, woken) = pending.check(request(method, &path, body), &about).await;
        assert!([200, 202].contains(&changed.status), "{path}: {changed:?}");
        assert!([200, 400, 409].contains(&woken.status), "{path}: {woken:?}");
    }
}

/// Changes: method, path, body, and the peers whose records change.
const CHANGES: &[(&str, &str, &str, &[&str])] = &[
    // Grants, at once or to a waiter, and a place in a queue.
    ("PUT", "/peers/idle/C", "1", &["idle"]),
    ("PUT", "/peers/idle/A", "1", &["idle"]),
    ("DELETE", "/peers/holder/A", "", &["holder", "waiter"]),
    ("DELETE", "/peers/holder", "", &["waiter"]),
    ("PUT", "/peers/holder", r#"{"expires_in":"0s"}"#, &["waiter"]),
    // Withdrawals.
    ("DELETE", "/peers/waiter/A", "", &["waiter"]),
    ("DELETE", "/peers/last/A", "", &["last"]),
    ("DELETE", "/peers/last", "", &[]),
    // Peers come, and their leases and numbers change.
    ("POST", "/new_peer", r#"{"expires_in":"1m"}"#, &[]),
    ("POST", "/restore", r#"{"expires_in":"1m","peer_id":42,"acquired":{"C":1}}"#, &[]),
    ("PUT", "/peers/idle", r#"{"expires_in":"2m"}"#, &["idle"]),
    ("DELETE", "/peers/idle/C?sequence=7", "", &["idle"]),
];

/// D4
#[tokio::test]
async fn a_service_whose_store_fails_answers_nothing_but_that() {
    let pending = Pending::new().await;
    let looks = pending.looks();
    let Pending { gate, server, idle, waiting, .. } = pending;
    gate.set(GateState::Broken);
    let failed = |answer: &Answer| {
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
    };
    let detail =
        "The server can make no change durable any more and is about to end. Try again later.";
    let change = send(&server, request(Method::PUT, &format!("/peers/{idle}/C"), "1"));
    let change = answer(change).await;
    change.is_text(503, detail);
    failed(&change);
    failed(&answer(waiting).await);
    for look in looks {
        let name = format!("{} {}", look.method(), look.uri());
        let answer = answer(send(&server, look)).await;
        assert_eq!(answer.status, 503, "{name}: {answer:?}");
        failed(&answer);
    }
    let heartbeat = request(Method::PUT, &format!("/peers/{idle}"), r#"{"expires_in":"1m"}"#);
    failed(&answer(send(&server, heartbeat)).await);
    for path in ["/health", "/ready"] {
        let mut request = request(Method::GET, path, "");
        let accept = "application/json, application/problem+json".parse().expect("a header");
        request.headers_mut().insert(header::ACCEPT, accept);
        let answer = answer(send(&server, request)).await;
        failed(&answer);
        let problem: Problem = serde_json::from_str(&answer.body).expect("a problem");
        assert_eq!((problem.code, problem.detail.as_str()), (Code::StoreFailed, detail));
    }
    server.get("/version").await.is_text(200, env!("CARGO_PKG_VERSION"));
    // Operators see that it has failed.
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status, 200, "{metrics:?}");
    assert!(metrics.body.contains("throttle_refusals_total{code=\"store_failed\"}"));
}

/// Between the last write of a planned stop and the end of the process.
#[tokio::test(start_paused = true)]
async fn a_request_that_comes_after_the_store_is_closed_is_for_the_next_server() {
    let disk = Disk::default();
    let server = start(&disk);
    let holder = server.hold("A", 1).await;
    server.handle.drain();
    server.handle.close().await.expect("the disk is sound");
    for (method, path, body) in [
        (Method::PUT, format!("/peers/{holder}"), r#"{"expires_in":"1m"}"#),
        (Method::DELETE, format!("/peers/{holder}/A"), ""),
        (Method::GET, "/semaphores/A".to_owned(), ""),
    ] {
        let answer = server.send(request(method, &path, body)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
    }
    let server = start(&disk);
    server.put(&format!("/peers/{holder}"), r#"{"expires_in":"1m"}"#).await.is_text(200, "Ok");
}

/// Demand D3, and D6, D7: a newcomer is not let in beside a holder, and waiters are served in their order.
#[tokio::test(start_paused = true)]
async fn after_a_restart_holders_hold_and_waiters_wait_as_before() {
    let disk = Disk::default();
    let server = start(&disk);
    let holder = server.join().await;
    let path = format!("/peers/{holder}/A");
    let before: LockAnswer = server.put(&format!("{path}?sequence=7"), "1").await.json();
    let waiters = [server.join().await, server.join().await];
    let dies = server.wait(waiters[0], "A?block_for=1h").await;
    assert_eq!(server.put(&format!("/peers/{}/A", waiters[1]), "1").await.status, 202);
    tokio::time::sleep(Duration::from_secs(50)).await;
    dies.abort();

    let server = start(&disk);
    let newcomer = server.join().await;
    assert_eq!(server.put(&format!("/peers/{newcomer}/A"), "1").await.status, 202);
    let token = before.fencing_token.expect("the lock is held");
    let grant: HeldGrant = server.get(&format!("/semaphores/A/fencing/{token}")).await.json();
    assert_eq!(grant.holder.peer_id, holder);
    let peer: PeerStatus = server.get(&format!("/peers/{holder}")).await.json();
    assert_eq!((peer.time_left, peer.held[0].fencing_token), (Duration::from_secs(60), token));
    assert_eq!(server.put(&format!("{path}?sequence=6"), "1").await.status, 409);
    let after: LockAnswer = server.put(&format!("{path}?sequence=8"), "1").await.json();
    assert_eq!(after, before);
    let overview: SemaphoreOverview = server.get("/semaphores/A").await.json();
    let queue: Vec<_> = overview.queue.iter().map(|waiter| waiter.peer_id).collect();
    assert_eq!(queue, [waiters[0], waiters[1], newcomer]);

    let waiting = server.wait(waiters[0], "A?block_for=1m").await;
    server.delete(&path).await.is_text(200, "Ok");
    let granted: LockAnswer = waiting.await.unwrap().json();
    assert!(granted.fencing_token > before.fencing_token);
}

/// D10
#[tokio::test(start_paused = true)]
async fn an_unknown_peer_is_told_since_when_the_server_remembers() {
    let disk = Disk::default();
    let server = start(&disk);
    let peer = server.join().await;
    server.delete(&format!("/peers/{peer}")).await;
    let age = Duration::from_secs(3_600);
    let server = start_with(Box::new(AgedStore { store: disk.open(), age }), SEMAPHORES);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut request = request(Method::GET, &format!("/peers/{peer}"), "");
    let accept = "application/problem+json".parse().expect("a header");
    request.headers_mut().insert(header::ACCEPT, accept);
    let problem: Problem = serde_json::from_str(&server.send(request).await.body).unwrap();
    assert_eq!((problem.code, problem.uptime), (Code::UnknownPeer, Some(Duration::from_secs(5))));
    let remembers_for = problem.remembers_for.expect("an unknown peer has it");
    // The age of the store is taken from the wall clock, which runs while the test does.
    let expected = Duration::from_secs(3_605)..Duration::from_secs(3_635);
    assert!(expected.contains(&remembers_for), "{remembers_for:?}");
    assert_eq!(problem.remembers_for_seconds, Some(remembers_for.into()));
}

/// D9
#[tokio::test(start_paused = true)]
async fn a_semaphore_that_is_gone_after_a_restart_keeps_its_holders_and_shows_that_it_is_retired() {
    let disk = Disk::default();
    let server = start(&disk);
    let holder = server.hold("A", 1).await;
    server.hold("B", 1).await;
    let server = start_with(disk.open(), &[("B", 1, 3), ("C", 1, 0)]);
    let list = server.get("/semaphores").await.value();
    let shown = list.as_array().unwrap().iter();
    let shown: BTreeSet<_> =
        shown.map(|it| format!("{} {} {}", it["name"], it["retired"], it["next_level"])).collect();
    let expected = [r#""A" true null"#, r#""B" null 3"#, r#""C" null null"#];
    assert!(shown.iter().eq(expected.iter()), "{shown:?}");
    let newcomer = server.join().await;
    let refused = server.put(&format!("/peers/{newcomer}/A"), "1").await;
    refused.is_text(400, "Unknown semaphore");
    server.delete(&format!("/peers/{holder}/A")).await.is_text(200, "Ok");
    server.get("/semaphores/A").await.is_text(400, "Unknown semaphore");
}
