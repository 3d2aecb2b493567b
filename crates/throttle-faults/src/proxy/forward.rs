//! Forwards one request to the server, with the fault that it meets.

use std::{
    fmt::{self, Display, Formatter},
    sync::{Arc, atomic::Ordering},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::{Fault, ProxyState, RequestKind};
use crate::server::Server;

/// The error that makes hyper close the connection without an answer.
#[derive(Debug)]
pub(super) struct Cut;

impl Display for Cut {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Cut {}

pub(super) async fn forward(
    state: Arc<ProxyState>,
    request: Request<Incoming>,
    has_faults: bool,
) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), MAX_BODY_BYTES).await.map_err(|_| Cut)?;
    let kind = RequestKind::of(&head.method, head.uri.path());
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let request = Request::from_parts(head, body);
    state.requests.fetch_add(1, Ordering::Relaxed);
    let server = state.server.clone();
    let met = if has_faults { state.fault_for(kind) } else { None };
    let Some((fault, mut cleared)) = met else { return deliver(&server, request).await };
    match fault {
        Fault::Answer(status) => {
            Ok(page(status, &format!("http://{}{path}", state.faultless_address)))
        }
        Fault::CutAnswer => {
            deliver(&server, request).await?;
            Err(Cut)
        }
        Fault::CutRequest => Err(Cut),
        Fault::DelayAnswer(span) => {
            let answer = deliver(&server, request).await?;
            tokio::time::sleep(span).await;
            Ok(answer)
        }
        Fault::DelayRequest(span) => {
            let (reply, answer) = oneshot::channel();
            tokio::spawn(async move {
                tokio::time::sleep(span).await;
                deliver_late(&server, request, reply).await;
            });
            answer.await.map_err(|_| Cut)
        }
        Fault::Duplicate(span) => {
            let (copied, copy) = (server.clone(), request.clone());
            tokio::spawn(async move {
                tokio::time::sleep(span).await;
                deliver_late(&copied, copy, oneshot::channel().0).await;
            });
            deliver(&server, request).await
        }
        Fault::Silence => {
            // It fails if the proxy is dropped, which looks the same to the client.
            let _cleared = cleared.changed().await;
            Err(Cut)
        }
    }
}

async fn deliver(server: &Server, request: Request<Bytes>) -> Result<Response<Body>, Cut> {
    server.answer(request).await.ok_or(Cut)
}

/// Delivers a request whose client may be gone. Then the server sees its connection break.
async fn deliver_late(
    server: &Server,
    request: Request<Bytes>,
    mut reply: oneshot::Sender<Response<Body>>,
) {
    let answer = tokio::select! {
        biased;
        answer = server.answer(request) => answer,
        () = async { reply.closed().await } => None,
    };
    if let Some(answer) = answer {
        // Sending fails if the client is gone.
        let _gone = reply.send(answer);
    }
}

/// An HTML page, as gateways send it.
fn page(status: StatusCode, location: &str) -> Response<Body> {
    let mut page = Response::new(Body::from(format!("<html><h1>{status}</h1></html>\n")));
    *page.status_mut() = status;
    let html = header::HeaderValue::from_static("text/html");
    page.headers_mut().insert(header::CONTENT_TYPE, html);
    if status.is_redirection() {
        let location = location.parse().expect("the path comes from a request");
        page.headers_mut().insert(header::LOCATION, location);
    }
    page
}

/// Much more than the bodies of our clients, which have some hundred bytes.
const MAX_BODY_BYTES: usize = 1 << 20;
