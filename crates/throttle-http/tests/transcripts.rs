//! The transcripts, played over the routes, on paused time. Everything goes through HTTP except a change of the
//! configuration, which is not a request.
//!
//! Each is played without a store, with a store, and with a store and a restart after each of its lines.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use throttle_runtime::{Changes, Count, Handle, Level, SemaphoreConfig, Settings};
use throttle_transcripts::{Act, Peer, PeerState, Subject, play};
use throttle_wire::PeerStatus;
use tokio::{
    runtime::Builder,
    task::{JoinHandle, yield_now},
    time::sleep,
};
use tower::ServiceExt as _;

use crate::stores::Disk;

#[path = "../../throttle-transcripts/corpus/mod.rs"]
mod corpus;
mod stores;

fn check(transcript: expect_test::Expect) {
    let script = transcript.data();
    let played = run(script, None, None);
    transcript.assert_eq(&played.text);
    let stored = run(script, Some(Disk::default()), None);
    assert_eq!(stored.text, played.text, "a store changes no answer");
    if played.lasted >= REMEMBERED {
        return;
    }
    let restarts = (1..=played.lines).filter(|&line| check_restart(script, line)).count();
    assert!(
        restarts == played.lines || script.contains("block_for"),
        "only waits prevent a restart"
    );
}

/// D2, D6, D7: after a restart everything goes on as if each peer had only sent a heartbeat.
///
/// Waits that are open when the server ends are left to the test of `durability`: what their peers wait for then
/// cannot be had without a restart. Returns whether there was a restart.
fn check_restart(script: &str, line: usize) -> bool {
    let renewed = run(script, None, Some((line, Interruption::Heartbeats)));
    let restarted = run(script, Some(Disk::default()), Some((line, Interruption::Restart)));
    assert_eq!(renewed.is_interrupted, restarted.is_interrupted);
    assert_eq!(restarted.text, renewed.text, "restarted after line {line}");
    restarted.is_interrupted
}

/// For how long the numbers of absent peers are remembered. A restart takes their ages from the wall clock, which does
/// not go with paused time.
const REMEMBERED: Duration = Duration::from_secs(600);

#[derive(Default)]
struct Played {
    text: String,
    /// The number of lines with an act.
    lines: usize,
    is_interrupted: bool,
    lasted: Duration,
}

/// Plays a script on a new service that writes to `disk`, with an interruption after one of its lines.
fn run(script: &str, disk: Option<Disk>, interruption: Option<(usize, Interruption)>) -> Played {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let played = Rc::new(RefCell::new(Played::default()));
    let plan = Plan { interruption, played: Rc::clone(&played) };
    let play = play(script, |semaphores| Routes::start(semaphores, disk, plan));
    let text = runtime.expect("a runtime starts").block_on(play);
    Played { text, ..played.take() }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Interruption {
    /// All peers renew their leases with the length that they have.
    Heartbeats,
    /// The service ends, and another one begins with what the disk has.
    Restart,
}

/// After which line a script is interrupted, and what is known of its play so far.
struct Plan {
    interruption: Option<(usize, Interruption)>,
    played: Rc<RefCell<Played>>,
}

struct Routes {
    handle: Handle,
    router: Router,
    semaphores: BTreeMap<String, SemaphoreConfig>,
    ids: BTreeMap<Peer, u64>,
    now: Duration,
    open: Vec<(Peer, JoinHandle<Answer>)>,
    /// `None` without a store.
    disk: Option<Disk>,
    plan: Plan,
}

/// Status and body. A body that is not JSON becomes a JSON string.
type Answer = (StatusCode, Value);

impl Routes {
    fn start(semaphores: Vec<(String, u64, i32)>, disk: Option<Disk>, plan: Plan) -> Self {
        let semaphores = semaphores.into_iter().map(|(name, max, level)| {
            let max = Count::new(max).expect("a positive maximum");
            (name, SemaphoreConfig { max, level: Level(level) })
        });
        let semaphores = semaphores.collect();
        let handle = start(&semaphores, disk.as_ref());
        Self {
            router: throttle_http::routes(handle.clone()),
            handle,
            semaphores,
            ids: BTreeMap::new(),
            now: Duration::ZERO,
            open: Vec::new(),
            disk,
            plan,
        }
    }

    /// Interrupts the script if it is time to, and if no peer waits for an answer or has lost its connection.
    async fn interrupt(&mut self) {
        let lines = {
            let mut played = self.plan.played.borrow_mut();
            played.lines += 1;
            played.lasted = self.now;
            played.lines
        };
        let interruption = self.plan.interruption.filter(|&(line, _)| line == lines);
        let Some((_, interruption)) = interruption else { return };
        let (_, peers) = self.ask(Method::GET, "/peers", Value::Null).await;
        let peers: Vec<PeerStatus> = serde_json::from_value(peers).expect("a list of peers");
        let is_parked = |peer: &PeerStatus| peer.pending.as_ref().is_some_and(|it| it.parked);
        if !self.open.is_empty() || peers.iter().any(is_parked) {
            return;
        }
        self.plan.played.borrow_mut().is_interrupted = true;
        match interruption {
            Interruption::Heartbeats => {
                for peer in peers {
                    let lease = json!({ "expires_in": written(peer.expires_in) });
                    self.ask(Method::PUT, &format!("/peers/{}", peer.id), lease).await;
                }
            }
            Interruption::Restart => {
                self.handle = start(&self.semaphores, self.disk.as_ref());
                self.router = throttle_http::routes(self.handle.clone());
            }
        }
    }

    /// The id from the server. Before there is one, the number in the script.
    fn id(&self, peer: Peer) -> u64 {
        self.ids.get(&peer).copied().unwrap_or(peer.0)
    }

    fn send(&self, method: Method, uri: &str, body: &Value) -> JoinHandle<Answer> {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, throttle_wire::PROBLEM_JSON)
            .body(body)
            .expect("a proper request");
        let router = self.router.clone();
        tokio::spawn(async move {
            let Ok(answer) = router.oneshot(request).await;
            let status = answer.status();
            let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
            let text = || String::from_utf8_lossy(&body).into_owned().into();
            (status, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
        })
    }

    async fn ask(&self, method: Method, uri: &str, body: Value) -> Answer {
        self.send(method, uri, &body).await.expect("no handler panics")
    }

    async fn act(&mut self, act: &Act) -> String {
        let answer = match act {
            Act::Acquire { .. } => return self.acquire(act).await,
            Act::IsAcquired(peer) => {
                let uri = format!("/peers/{}/is_acquired", self.id(*peer));
                self.ask(Method::GET, &uri, Value::Null).await
            }
            Act::Configure(..) | Act::RemoveSemaphore(_) | Act::Resize(..) => {
                return self.configure(act).await.to_owned();
            }
            Act::Disconnect(peer) => {
                let broken = self.open.extract_if(.., |(waiter, _)| waiter == peer);
                broken.for_each(|(_, request)| request.abort());
                return "ok".to_owned();
            }
            Act::Heartbeat(peer, lease) => {
                let uri = format!("/peers/{}", self.id(*peer));
                self.ask(Method::PUT, &uri, json!({ "expires_in": written(*lease) })).await
            }
            Act::NewPeer(peer, lease) => {
                let lease = json!({ "expires_in": written(*lease) });
                let (status, id) = self.ask(Method::POST, "/new_peer", lease).await;
                assert_eq!(status, StatusCode::OK, "{id}");
                self.ids.insert(*peer, id.as_u64().expect("an id is a number"));
                return "ok".to_owned();
            }
            Act::RemovePeer(peer, sequence) => {
                let uri = format!("/peers/{}?{}", self.id(*peer), numbered(*sequence));
                let (_, answer) = self.ask(Method::DELETE, &uri, Value::Null).await;
                return (answer == "Peer released").to_string();
            }
            Act::Release(peer, semaphore, sequence) => {
                let sequence = numbered(*sequence);
                let uri = format!("/peers/{}/{semaphore}?{sequence}", self.id(*peer));
                self.ask(Method::DELETE, &uri, Value::Null).await
            }
            Act::Remainder(semaphore) => {
                let uri = format!("/remainder?semaphore={semaphore}");
                self.ask(Method::GET, &uri, Value::Null).await
            }
            Act::Restore(peer, lease, locks, sequence) => {
                let (peer_id, expires_in) = (self.id(*peer), written(*lease));
                let mut body = json!({
                    "peer_id": peer_id, "expires_in": expires_in, "acquired": locks,
                });
                if let Some(sequence) = sequence {
                    body["sequence"] = json!(sequence);
                }
                self.ask(Method::POST, "/restore", body).await
            }
            Act::Wait => return "ok".to_owned(),
            Act::ResumeGrants | Act::SuspendGrants => unreachable!("{act:?} cannot be played"),
        };
        read(answer)
    }

    async fn configure(&mut self, act: &Act) -> &'static str {
        match act {
            Act::Configure(semaphore, max, level) => {
                let (max, level) = (Count::new(*max).expect("a positive maximum"), Level(*level));
                self.semaphores.insert(semaphore.clone(), SemaphoreConfig { max, level });
                let is_deferred = self.reconfigure().await.deferred.contains(semaphore);
                if is_deferred { "deferred" } else { "ok" }
            }
            Act::RemoveSemaphore(semaphore) => {
                if self.semaphores.remove(semaphore).is_none() {
                    // It is not configured, so nothing changes.
                    let path = format!("/semaphores/{semaphore}");
                    let (_, status) = self.ask(Method::GET, &path, Value::Null).await;
                    return if status["retired"] == true { "retired" } else { "unknown_semaphore" };
                }
                let is_retired = self.reconfigure().await.retired.contains(semaphore);
                if is_retired { "retired" } else { "removed" }
            }
            Act::Resize(semaphore, max) => {
                let Some(config) = self.semaphores.get_mut(semaphore) else {
                    return "unknown_semaphore";
                };
                config.max = Count::new(*max).expect("a positive maximum");
                assert_eq!(self.reconfigure().await.changed, [semaphore.as_str()]);
                "ok"
            }
            act => unreachable!("{act:?} changes no configuration"),
        }
    }

    async fn reconfigure(&self) -> Changes {
        let changes = self.handle.reconfigure(Settings::default(), &self.semaphores).await;
        changes.expect("the service works")
    }

    async fn acquire(&mut self, act: &Act) -> String {
        let Act::Acquire { peer, semaphore, count, expires_in, block_for, sequence } = act else {
            unreachable!()
        };
        let expires_in = expires_in.map(|lease| format!("expires_in={}&", written(lease)));
        let block_for = block_for.map(|time| format!("block_for={}&", written(time)));
        let sequence = numbered(*sequence);
        let query = expires_in.unwrap_or_default() + &block_for.unwrap_or_default() + &sequence;
        let uri = format!("/peers/{}/{semaphore}?{query}", self.id(*peer));
        let request = self.send(Method::PUT, &uri, &json!(count));
        run_ready_tasks().await;
        if request.is_finished() {
            return read(request.await.expect("no handler panics"));
        }
        self.open.push((*peer, request));
        "waits".to_owned()
    }
}

impl Subject for Routes {
    /// A service suspends grants only at its start.
    fn can_play(act: &Act) -> bool {
        !matches!(act, Act::ResumeGrants | Act::SuspendGrants)
    }

    async fn perform(&mut self, act: &Act) -> String {
        let answer = self.act(act).await;
        run_ready_tasks().await;
        self.interrupt().await;
        answer
    }

    async fn advance_to(&mut self, at: Duration) {
        sleep(at - self.now).await;
        self.now = at;
        run_ready_tasks().await;
    }

    async fn take_answers(&mut self) -> Vec<(Peer, String)> {
        let mut answers = Vec::new();
        for (peer, request) in self.open.extract_if(.., |(_, request)| request.is_finished()) {
            answers.push((peer, read(request.await.expect("no handler panics"))));
        }
        answers
    }

    async fn peer_state(&mut self, peer: Peer) -> PeerState {
        let uri = format!("/peers/{}", self.id(peer));
        let (status, body) = self.ask(Method::GET, &uri, Value::Null).await;
        if status != StatusCode::OK {
            return PeerState::default();
        }
        let peer: PeerStatus = serde_json::from_value(body).expect("a peer");
        PeerState {
            exists: true,
            held: peer.held.into_iter().map(|lock| lock.semaphore).collect(),
            pending: peer.pending.map(|lock| lock.semaphore),
        }
    }
}

fn start(semaphores: &BTreeMap<String, SemaphoreConfig>, disk: Option<&Disk>) -> Handle {
    let builder = Handle::builder(Settings::default(), semaphores);
    let builder = match disk {
        None => builder,
        Some(disk) => builder.store(disk.open()),
    };
    builder.start().expect("the disk is sound")
}

/// An answer in the words of the transcripts.
fn read((status, body): Answer) -> String {
    match status {
        StatusCode::OK if body.get("fencing_token").is_some() => "granted".to_owned(),
        StatusCode::ACCEPTED => "queued".to_owned(),
        StatusCode::OK if body == "Ok" => "ok".to_owned(),
        StatusCode::OK => body.to_string(),
        _ => body["code"].as_str().expect("an error has a code").to_owned(),
    }
}

fn numbered(sequence: Option<u64>) -> String {
    sequence.map(|sequence| format!("sequence={sequence}")).unwrap_or_default()
}

fn written(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

/// Runs every task until it waits.
async fn run_ready_tasks() {
    for _ in 0..20 {
        yield_now().await;
    }
}
