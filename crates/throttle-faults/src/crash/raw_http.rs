//! A client that sends plain HTTP requests, never repeats one, and records each with its answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    body::{Body, to_bytes},
    http::{Method, Request as HttpRequest, StatusCode, header},
};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    event::{Answer, Lock, Request},
    recorder::Recorder,
};

/// A client with one connection.
#[derive(Debug)]
pub(super) struct RawHttp {
    recorder: Arc<Recorder>,
    connection: Option<SendRequest<Body>>,
    /// The process of the server that served the last request.
    pub(super) process: usize,
}

impl RawHttp {
    pub(super) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder, connection: None, process: 0 }
    }

    /// Sends a request once the server is ready. `None` if the connection breaks before the answer.
    ///
    /// # Errors
    ///
    /// An answer that no server of ours gives, or none for a long time although the server runs.
    pub(super) async fn call(&mut self, request: Request) -> anyhow::Result<Option<Answer>> {
        let mut connection = self.connect().await;
        let http = http_request(&request);
        let number = self.recorder.sent(request.clone());
        let exchanged = exchange(&mut connection, http);
        let exchanged = tokio::time::timeout(ANSWER_TIMEOUT, exchanged).await;
        let Ok(exchanged) = exchanged else {
            anyhow::bail!("no answer for {ANSWER_TIMEOUT:?}: {request:?}")
        };
        if let Some((status, body)) = exchanged {
            let answer = decode(&request, status, &body).with_context(|| format!("{request:?}"))?;
            self.recorder.answered(number, &answer);
            self.connection = Some(connection);
            Ok(Some(answer))
        } else {
            self.recorder.unanswered(number);
            Ok(None)
        }
    }

    /// The connection, or a new one. Repeats it until it succeeds.
    async fn connect(&mut self) -> SendRequest<Body> {
        if let Some(connection) = self.connection.take().filter(|it| !it.is_closed()) {
            return connection;
        }
        loop {
            let server = self.recorder.ready().await;
            self.process = server.process;
            if let Ok(connection) = open(server.address).await {
                return connection;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Opens a connection to the server.
pub(super) async fn open(address: SocketAddr) -> anyhow::Result<SendRequest<Body>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends a request and reads the whole answer. `None` if the connection breaks before that.
pub(super) async fn exchange(
    connection: &mut SendRequest<Body>,
    request: HttpRequest<Body>,
) -> Option<(StatusCode, Value)> {
    connection.ready().await.ok()?;
    let answer = connection.send_request(request).await.ok()?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), MAX_BODY_BYTES).await.ok()?;
    Some((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// A question.
pub(super) fn get(path: &str) -> HttpRequest<Body> {
    http(Method::GET, path, None)
}

/// A removal.
pub(super) fn delete(path: &str) -> HttpRequest<Body> {
    http(Method::DELETE, path, None)
}

fn http_request(request: &Request) -> HttpRequest<Body> {
    let span = |span: Duration| format!("{}ms", span.as_millis());
    let numbered = |path: String, sequence: Option<u64>| {
        sequence.map_or_else(|| path.clone(), |number| format!("{path}?sequence={number}"))
    };
    match request {
        Request::NewPeer { lease } => {
            http(Method::POST, "/new_peer", Some(json!({ "expires_in": span(*lease) })))
        }
        Request::Heartbeat { peer, lease } => {
            let body = json!({ "expires_in": span(*lease) });
            http(Method::PUT, &format!("/peers/{peer}"), Some(body))
        }
        Request::Acquire { peer, semaphore, count, lease, block_for, sequence } => {
            let parameters = [
                lease.map(|lease| format!("expires_in={}", span(lease))),
                block_for.map(|wait| format!("block_for={}", span(wait))),
                sequence.map(|number| format!("sequence={number}")),
            ];
            let parameters = parameters.into_iter().flatten().collect::<Vec<_>>().join("&");
            let path = format!("/peers/{peer}/{semaphore}?{parameters}");
            http(Method::PUT, &path, Some(json!(count)))
        }
        Request::Release { peer, semaphore, sequence } => {
            let path = numbered(format!("/peers/{peer}/{semaphore}"), *sequence);
            http(Method::DELETE, &path, None)
        }
        Request::Remove { peer, sequence } => {
            http(Method::DELETE, &numbered(format!("/peers/{peer}"), *sequence), None)
        }
        Request::Restore { peer, lease, sequence } => {
            let mut body = json!({ "expires_in": span(*lease), "peer_id": peer, "acquired": {} });
            if let Some(sequence) = sequence {
                body["sequence"] = json!(sequence);
            }
            http(Method::POST, "/restore", Some(body))
        }
        Request::Inspect { peer } => get(&format!("/peers/{peer}")),
        Request::IsHeld { semaphore, token, .. } => {
            get(&format!("/semaphores/{semaphore}/fencing/{token}"))
        }
    }
}

fn http(method: Method, path: &str, body: Option<Value>) -> HttpRequest<Body> {
    let request = HttpRequest::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "throttle")
        .header(header::ACCEPT, "application/problem+json");
    let request = match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    request.expect("paths and headers are valid")
}

fn decode(request: &Request, status: StatusCode, body: &Value) -> anyhow::Result<Answer> {
    if !status.is_success() {
        let code = body["code"].as_str();
        let code = code.with_context(|| format!("status {status} without a code: {body}"))?;
        anyhow::ensure!(!status.is_server_error(), "status {status}: {body}");
        return Ok(Answer::refused(code));
    }
    let answer = match request {
        Request::NewPeer { .. } => body.as_u64().map(|peer| Answer::Created { peer }),
        Request::Heartbeat { .. } | Request::Release { .. } | Request::Restore { .. } => {
            Some(Answer::Done)
        }
        Request::Remove { .. } => {
            let existed = body.as_str().map(|text| text == "Peer released");
            existed.map(|existed| Answer::Removed { existed })
        }
        Request::Acquire { .. } => body["count"].as_u64().and_then(|count| {
            Some(if body["acquired"].as_bool()? {
                Answer::Held { count, token: Some(body["fencing_token"].as_u64()?) }
            } else {
                Answer::Pending { count }
            })
        }),
        Request::Inspect { .. } => decode_peer(body),
        Request::IsHeld { .. } => body["count"]
            .as_u64()
            .map(|count| Answer::Held { count, token: body["fencing_token"].as_u64() }),
    };
    answer.with_context(|| format!("status {status} with the body {body}"))
}

/// A peer as the server shows it.
pub(super) fn decode_peer(body: &Value) -> Option<Answer> {
    let lock = |lock: &Value| {
        Some(Lock {
            semaphore: lock["semaphore"].as_str()?.to_owned(),
            count: lock["count"].as_u64()?,
            token: lock["fencing_token"].as_u64(),
        })
    };
    let held = body["held"].as_array()?.iter().map(lock).collect::<Option<_>>()?;
    let pending = &body["pending"];
    let pending = if pending.is_null() { None } else { Some(lock(pending)?) };
    Some(Answer::Peer { held, pending })
}

/// A running server answers much sooner.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause before the next attempt to connect.
const PAUSE: Duration = Duration::from_millis(5);

const MAX_BODY_BYTES: usize = 64 << 20;
