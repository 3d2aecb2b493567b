//! The transcripts, played over the routes, on paused time. Everything goes through HTTP except a change of the
//! maximum, which is not a request.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use throttle_transcripts::{Act, Peer, PeerState, Subject, play};
use tokio::{
    runtime::Builder,
    task::{JoinHandle, yield_now},
    time::sleep,
};
use tower::ServiceExt as _;

#[path = "../../throttle-transcripts/corpus/mod.rs"]
mod corpus;

fn check(transcript: expect_test::Expect) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let played = play(transcript.data(), Routes::start);
    transcript.assert_eq(&runtime.expect("a runtime starts").block_on(played));
}

struct Routes {
    handle: Handle,
    router: Router,
    semaphores: BTreeMap<String, SemaphoreConfig>,
    ids: BTreeMap<Peer, u64>,
    now: Duration,
    open: Vec<(Peer, JoinHandle<Answer>)>,
}

/// Status and body. A body that is not JSON becomes a JSON string.
type Answer = (StatusCode, Value);

impl Routes {
    fn start(semaphores: Vec<(String, u64, i32)>) -> Self {
        let semaphores = semaphores.into_iter().map(|(name, max, level)| {
            let max = Count::new(max).expect("a positive maximum");
            (name, SemaphoreConfig { max, level: Level(level) })
        });
        let semaphores = semaphores.collect();
        let handle = Handle::start(Settings::default(), &semaphores);
        Self {
            router: throttle_http::routes(handle.clone()),
            handle,
            semaphores,
            ids: BTreeMap::new(),
            now: Duration::ZERO,
            open: Vec::new(),
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
            Act::Resize(semaphore, max) => {
                let config = self.semaphores.get_mut(semaphore).expect("a known semaphore");
                config.max = Count::new(*max).expect("a positive maximum");
                let changes = self.handle.reconfigure(Settings::default(), &self.semaphores).await;
                assert_eq!(changes.expect("nothing is removed").changed, [semaphore.as_str()]);
                return "ok".to_owned();
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
            act => unreachable!("{act:?} cannot be played"),
        };
        read(answer)
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
    fn can_play(act: &Act) -> bool {
        !matches!(
            act,
            Act::Configure(..) | Act::RemoveSemaphore(_) | Act::ResumeGrants | Act::SuspendGrants
        )
    }

    async fn perform(&mut self, act: &Act) -> String {
        let answer = self.act(act).await;
        run_ready_tasks().await;
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
        let peer: throttle_wire::PeerStatus = serde_json::from_value(body).expect("a peer");
        PeerState {
            exists: true,
            held: peer.held.into_iter().map(|lock| lock.semaphore).collect(),
            pending: peer.pending.map(|lock| lock.semaphore),
        }
    }
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
