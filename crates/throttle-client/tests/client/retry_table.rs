//! Every request with every kind of answer: whether it is repeated, and at which URL.

use axum::http::header::{LOCATION, RETRY_AFTER};
use throttle_client::{Client, Error, Labels, Restore};

use crate::scripted_server::{Cut, LEASE, Reaction, Server, answer, client, json, text};

/// A request whose good answer is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Request {
    Acquire,
    BlockingAcquire,
    Get,
    Health,
    Heartbeat,
    IsAcquired,
    NewPeer,
    Release,
    Reload,
    RemovePeer,
    Restore,
    Semaphores,
    Version,
}

impl Request {
    const ALL: [Self; 13] = [
        Self::Acquire,
        Self::BlockingAcquire,
        Self::Get,
        Self::Health,
        Self::Heartbeat,
        Self::IsAcquired,
        Self::NewPeer,
        Self::Release,
        Self::Reload,
        Self::RemovePeer,
        Self::Restore,
        Self::Semaphores,
        Self::Version,
    ];

    fn good_answer(self) -> Reaction {
        match self {
            Self::Acquire | Self::BlockingAcquire | Self::NewPeer => json(200, "42"),
            Self::Health | Self::Heartbeat | Self::Release | Self::Restore => text(200, "Ok"),
            Self::Get => json(200, r#"{"new":1}"#),
            Self::IsAcquired => json(200, "true"),
            Self::Reload => json(200, r#"{"added":[],"changed":[],"removed":[]}"#),
            Self::RemovePeer => json(200, "\"Peer released\""),
            Self::Semaphores => json(200, "[]"),
            Self::Version => text(200, "0.6.0"),
        }
    }

    async fn send(self, client: &Client) -> Result<(), Error> {
        match self {
            Self::Acquire => client.acquire(42, "A", 1).await.map(drop),
            Self::BlockingAcquire => client.acquire(42, "A", 1).block_for(LEASE).await.map(drop),
            Self::Get => client.get(&["semaphores", "A"]).await.map(drop),
            Self::Health => client.health().await,
            Self::Heartbeat => client.heartbeat(42, LEASE).await,
            Self::IsAcquired => client.is_acquired(42).await.map(drop),
            Self::NewPeer => client.new_peer(LEASE).await.map(drop),
            Self::Release => client.release(42, "A").await,
            Self::Reload => client.reload().await.map(drop),
            Self::RemovePeer => client.remove_peer(42).await.map(drop),
            Self::Restore => {
                let restore = Restore {
                    expires_in: LEASE,
                    peer_id: 42,
                    acquired: [("A".to_owned(), 1)].into(),
                    labels: Labels::new(),
                    sequence: None,
                };
                client.restore(&restore).await
            }
            Self::Semaphores => client.semaphores().await.map(drop),
            Self::Version => client.version().await.map(drop),
        }
    }
}

/// What an answer means for the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Meaning {
    /// The server wants to be asked later.
    Busy,
    /// Another attempt would end the same way.
    Final,
    /// The server may have executed the request.
    Lost,
    /// The same, and the server wants to be asked later.
    LostAndBusy,
}

use Meaning::{Busy, Final, Lost, LostAndBusy};

fn html(status: u16) -> Reaction {
    answer(status, "text/html; charset=utf-8", "<html><h1>nginx</h1></html>")
}

fn problem(status: u16, code: &str) -> Reaction {
    let body = format!(
        r#"{{"type": "urn:throttle:error:{code}", "title": "", "status": {status}, "detail": "",
            "code": "{code}"}}"#
    );
    answer(status, "application/problem+json", &body)
}

/// An answer: its name, its meaning, and how to make it.
type Row = (&'static str, Meaning, fn() -> Reaction);

/// Answers of proxies, other servers and Throttle.
fn answers() -> Vec<Row> {
    vec![
        ("broken connection", Lost, || Cut),
        ("200 html", Lost, || html(200)),
        ("200 nothing", Lost, || answer(200, "", "")),
        ("200 json of another server", Lost, || json(200, r#"{"status":"ok"}"#)),
        ("201", Lost, || text(201, "Ok")),
        ("202 html", Lost, || html(202)),
        ("204", Lost, || answer(204, "", "")),
        ("400 html", Lost, || html(400)),
        ("404 html", Lost, || html(404)),
        ("404 nothing", Lost, || answer(404, "", "")),
        ("404 with a sentence of another status", Lost, || text(404, "Unknown peer")),
        ("405 html", Lost, || html(405)),
        ("408 html", Lost, || html(408)),
        ("410 html", Lost, || html(410)),
        ("418 text", Lost, || text(418, "teapot")),
        ("499 html", Lost, || html(499)),
        ("500 html", Lost, || html(500)),
        ("502 html", Lost, || html(502)),
        ("504 nothing", Lost, || answer(504, "", "")),
        ("520 html", Lost, || html(520)),
        ("404 problem without a code", Lost, || {
            answer(404, "application/problem+json", r#"{"type":"about:blank","status":404}"#)
        }),
        ("429 html", Busy, || html(429).with(RETRY_AFTER, "0")),
        ("429 too_many_peers", Busy, || problem(429, "too_many_peers")),
        ("503 html", Busy, || html(503)),
        ("503 not_ready", Busy, || problem(503, "not_ready").with(RETRY_AFTER, "0")),
        ("503 store_failed", LostAndBusy, || problem(503, "store_failed").with(RETRY_AFTER, "0")),
        ("301", Final, || html(301).with(LOCATION, "https://host/")),
        ("302", Final, || html(302).with(LOCATION, "/login")),
        ("303", Final, || html(303).with(LOCATION, "/elsewhere")),
        ("308 without a location", Final, || html(308)),
        ("401 html", Final, || html(401)),
        ("403 html", Final, || html(403)),
        ("407 html", Final, || html(407)),
        ("413 html", Final, || html(413)),
        ("414 nothing", Final, || answer(414, "", "")),
        ("431 html", Final, || html(431)),
        ("400 sentence", Final, || text(400, "Unknown peer")),
        ("400 unknown_semaphore", Final, || problem(400, "unknown_semaphore")),
        ("403 foreign_origin", Final, || problem(403, "foreign_origin")),
        ("404 not_held", Final, || problem(404, "not_held")),
        ("404 unknown_route", Final, || problem(404, "unknown_route")),
        ("409 restore_conflict", Final, || problem(409, "restore_conflict")),
        ("418 of a newer server", Final, || problem(418, "moon_phase")),
        ("500 internal", Final, || problem(500, "internal")),
    ]
}

/// Whether a request is repeated after an answer of this meaning.
fn is_repeated(request: Request, meaning: Meaning) -> bool {
    match request {
        // It asks about the present.
        Request::Health => false,
        // A second reload would report that nothing has changed.
        Request::Reload => meaning == Busy,
        _ => meaning != Final,
    }
}

#[tokio::test]
async fn an_answer_of_another_server_counts_as_no_answer_to_any_request() {
    for (name, meaning, reaction) in answers() {
        for request in Request::ALL {
            if name == "200 json of another server" && request == Request::Get {
                continue; // It hands on whatever is not a page.
            }
            let server = Server::start([reaction(), request.good_answer()]).await;
            let outcome = request.send(&server.client()).await;
            let attempts = server.lines().len();
            let expected = if is_repeated(request, meaning) { (2, true) } else { (1, false) };
            assert_eq!((attempts, outcome.is_ok()), expected, "{request:?}: {name}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn another_url_is_asked_after_no_answer_but_not_after_one_that_says_later() {
    for (name, meaning, reaction) in
        answers().into_iter().filter(|(_, meaning, _)| *meaning != Final)
    {
        let first = Server::start([reaction(), text(200, "Ok")]).await;
        let second = Server::start([text(200, "Ok")]).await;
        let client = client(&first.url()).or_url(second.url()).build().unwrap();
        client.heartbeat(42, LEASE).await.unwrap();
        let expected = if meaning == Lost { (1, 1) } else { (2, 0) };
        assert_eq!((first.lines().len(), second.lines().len()), expected, "{name}");
    }
}

#[tokio::test]
async fn a_final_answer_is_no_reason_to_ask_another_url_next_time() {
    for (name, _, reaction) in answers().into_iter().filter(|(_, meaning, _)| *meaning == Final) {
        let first = Server::start([reaction(), text(200, "Ok")]).await;
        let second = Server::start([]).await;
        let client = client(&first.url()).or_url(second.url()).build().unwrap();
        client.heartbeat(42, LEASE).await.unwrap_err();
        client.heartbeat(42, LEASE).await.unwrap();
        assert_eq!((first.lines().len(), second.lines().len()), (2, 0), "{name}");
    }
}
