//! Labels of a peer, which the server shows to people.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
};
use throttle_client::{Labels, Peer, process_labels};
use tower::ServiceExt as _;

use crate::{
    real_server::{LONG, MUTEX, RealServer, routes},
    scripted_server::{Reaction, answer, client, serve},
};

#[tokio::test]
async fn labels_replace_default_labels_of_the_same_name() {
    let server = RealServer::with(MUTEX).await;
    let defaults =
        Labels::from([("host", "h"), ("job", "none")].map(|(n, v)| (n.into(), v.into())));
    let ann = Peer::builder(&server.client()).lease(LONG).label("job", "nightly");
    let ann = ann.default_labels(defaults).labels([("team", "a"), ("tier", "1")]).build();
    let lock = ann.lock("A").await.unwrap();
    let shown = &server.client().peers().await.unwrap()[0].labels;
    let shown: Vec<_> = shown.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(shown, ["host=h", "job=nightly", "team=a", "tier=1"]);
    lock.release().await.unwrap();
}

fn refusal(status: u16, code: &str) -> Reaction {
    let problem = format!(
        r#"{{"type": "urn:throttle:error:{code}", "title": "No", "status": {status}, "detail": "No.",
            "code": "{code}"}}"#
    );
    answer(status, "application/problem+json", &problem)
}

/// Whatever the reason, they are only good to have.
#[tokio::test]
async fn default_labels_are_left_out_if_the_server_refuses_them() {
    for (status, code) in [(422, "labels_too_large"), (429, "too_many_label_bytes")] {
        let inside = routes(MUTEX);
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&bodies);
        let answer = move |request: Request| {
            let (inside, log) = (inside.clone(), Arc::clone(&log));
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let text = String::from_utf8(body.to_vec()).unwrap();
                if parts.uri.path() == "/new_peer" {
                    log.lock().unwrap().push(text.clone());
                }
                if text.contains("program") {
                    return refusal(status, code).into_response().await;
                }
                inside.oneshot(Request::from_parts(parts, Body::from(body))).await.unwrap()
            }
        };
        let (address, _) = serve(Router::new().fallback(answer)).await;
        let throttle = client(&format!("http://{address}")).build().unwrap();
        let builder = || Peer::builder(&throttle).lease(LONG).default_labels(process_labels());
        let lock = builder().label("job", "nightly").build().lock("A").await.unwrap();
        assert_eq!(throttle.peers().await.unwrap()[0].labels.len(), 1);
        lock.release().await.unwrap();
        assert_eq!(bodies.lock().unwrap().len(), 2);

        // Labels that the program has set are not left out.
        let refused = builder().label("program", "p").build().lock("A").try_lock().await;
        assert_eq!(refused.unwrap_err().code().map(|it| it.to_string()), Some(code.to_owned()));
    }
}

/// A restarted server may have lower limits.
#[tokio::test]
async fn a_restore_refused_for_default_labels_does_not_lose_the_lock() {
    let inside = Arc::new(Mutex::new(routes(MUTEX)));
    let server = Arc::clone(&inside);
    let answer = move |request: Request| {
        let inside = inside.lock().unwrap().clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let has_defaults = String::from_utf8_lossy(&body).contains("program");
            if parts.uri.path() == "/restore" && has_defaults {
                return refusal(422, "labels_too_large").into_response().await;
            }
            inside.oneshot(Request::from_parts(parts, Body::from(body))).await.unwrap()
        }
    };
    let (address, _) = serve(Router::new().fallback(answer)).await;
    let throttle = client(&format!("http://{address}")).build().unwrap();
    let builder = Peer::builder(&throttle).lease(LONG).default_labels(process_labels());
    let ann = builder.label("job", "nightly").build();
    let lock = ann.lock("A").await.unwrap();
    *server.lock().unwrap() = routes(MUTEX);
    ann.renew().await.unwrap();
    assert!(lock.is_held());
    let peers = throttle.peers().await.unwrap();
    assert_eq!((peers[0].id, peers[0].labels.len()), (lock.peer_id(), 1));
    lock.release().await.unwrap();
}
