//! Peers leave nothing behind at the server when they are dropped or closed.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Request};
use throttle_client::{Client, LockError, Lost, Peer};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

use crate::{
    real_server::{LONG, MUTEX, RealServer, now, routes},
    scripted_server::{client, serve},
};

/// A client of a server that records its requests.
async fn observed() -> (Client, Arc<Mutex<Vec<String>>>) {
    let (inside, asked) = (routes(MUTEX), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&asked);
    let observe = move |request: Request| {
        let segments = request.uri().path().split('/').count();
        log.lock().unwrap().push(format!("{} {segments}", request.method()));
        inside.clone().oneshot(request)
    };
    let (address, _) = serve(Router::new().fallback(observe)).await;
    (client(&format!("http://{address}")).build().unwrap(), asked)
}

#[tokio::test]
async fn a_lock_with_a_new_peer_costs_four_requests_and_removes_the_peer() {
    let (throttle, asked) = observed().await;
    let lock = throttle.lock("A").await.unwrap();
    lock.release().await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["POST 2", "PUT 4", "DELETE 4", "DELETE 3"]);
    assert_eq!(throttle.peers().await.unwrap(), []);
}

#[tokio::test]
async fn a_lock_of_an_existing_peer_costs_two_requests() {
    let (throttle, asked) = observed().await;
    let ann = Peer::new(&throttle);
    for _ in 0..2 {
        ann.lock("A").await.unwrap().release().await.unwrap();
    }
    assert_eq!(*asked.lock().unwrap(), ["POST 2", "PUT 4", "DELETE 4", "PUT 4", "DELETE 4"]);
    ann.close().await;
}

#[tokio::test]
async fn a_lock_that_is_dropped_with_its_peer_costs_one_request() {
    let server = RealServer::with(MUTEX).await;
    let (throttle, asked) = observed().await;
    drop(throttle.lock("A").await.unwrap());
    while !asked.lock().unwrap().iter().any(|it| it == "DELETE 3") {
        tokio::task::yield_now().await;
    }
    assert_eq!(*asked.lock().unwrap(), ["POST 2", "PUT 4", "DELETE 3"]);
    drop(server.client().lock("A").await.unwrap());
    server.until(|peers| peers.is_empty()).await;
}

#[tokio::test]
async fn a_failed_request_for_a_lock_leaves_no_peer_behind() {
    let server = RealServer::with(MUTEX).await;
    let held = server.quiet_peer().lock("A").await.unwrap();
    let throttle = server.client();
    assert!(throttle.lock("A").try_lock().await.unwrap().is_none());
    assert_eq!(throttle.peers().await.unwrap().len(), 1);
    let in_vain = throttle.lock("A").wait_at_most(Duration::from_millis(300)).await;
    assert!(matches!(in_vain, Err(LockError::NotInTime { .. })), "{in_vain:?}");
    assert_eq!(throttle.peers().await.unwrap().len(), 1);
    throttle.lock("B").await.unwrap_err();
    assert_eq!(throttle.peers().await.unwrap().len(), 1);
    held.release().await.unwrap();
}

#[tokio::test]
async fn an_unused_peer_sends_nothing() {
    let (throttle, asked) = observed().await;
    drop(Peer::new(&throttle));
    Peer::new(&throttle).close().await;
    assert_eq!(Peer::new(&throttle).renew().await, Ok(()));
    drop(throttle.lock("A"));
    assert_eq!(asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn closing_a_peer_at_an_unreachable_server_takes_a_bounded_time() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.quiet_peer();
    drop(ann.lock("A").await.unwrap());
    server.until(|peers| peers.iter().all(|peer| peer.held.is_empty())).await;
    server.stop_answering();
    let start = now();
    ann.close().await;
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
}

fn runtimes() -> [Runtime; 2] {
    [Builder::new_current_thread(), Builder::new_multi_thread()]
        .map(|mut builder| builder.enable_all().build().unwrap())
}

/// As at the end of `main`.
#[test]
fn peers_dropped_right_before_their_runtime_are_removed() {
    let server_runtime = Runtime::new().unwrap();
    let server = server_runtime.block_on(RealServer::with(MUTEX));
    for runtime in runtimes() {
        runtime.block_on(async {
            let _lock = server.client().lock("A").await.unwrap();
            let others = [(); 4].map(|()| server.quiet_peer());
            for peer in &others {
                assert!(peer.lock("A").try_lock().await.unwrap().is_none());
            }
            assert_eq!(server.client().peers().await.unwrap().len(), 5);
        });
        drop(runtime);
        assert_eq!(server_runtime.block_on(server.client().peers()).unwrap(), []);
    }
}

#[test]
fn a_lock_still_in_use_when_its_runtime_ends_stays_until_its_lease_ends() {
    let server_runtime = Runtime::new().unwrap();
    let server = server_runtime.block_on(RealServer::with(MUTEX));
    let [runtime, _] = runtimes();
    let lock = runtime.block_on(async { server.quiet_peer().lock("A").await.unwrap() });
    drop(runtime);
    assert!(lock.is_held());
    assert_eq!(server_runtime.block_on(server.client().remainder("A")).unwrap(), 0);
}

#[test]
fn a_peer_whose_runtime_ended_is_lost_when_its_lease_ends_or_it_is_renewed() {
    let server_runtime = Runtime::new().unwrap();
    let server = server_runtime.block_on(RealServer::with(MUTEX));
    let [runtime, _] = runtimes();
    let ann = server.peer_on(&runtime);
    let lock = runtime.block_on(ann.lock("A").into_future()).unwrap();
    drop(runtime);
    server_runtime.block_on(async {
        let renewed = tokio::time::timeout(LONG, ann.renew()).await;
        assert_eq!(renewed.expect("no task renews it"), Err(Lost::Closed));
        assert!(lock.is_held());
        assert_eq!(tokio::time::timeout(LONG, ann.lost()).await.unwrap(), Lost::Expired);
        assert_eq!(lock.lost().await, Lost::Expired);
    });
}

#[test]
fn a_runtime_waits_a_bounded_time_for_the_removal_of_all_its_peers() {
    let server_runtime = Runtime::new().unwrap();
    let server = server_runtime.block_on(RealServer::with(MUTEX));
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let peers = [(); 8].map(|()| server.quiet_peer());
        for peer in &peers {
            drop(peer.lock("A").await);
        }
        server.until(|peers| peers.iter().all(|peer| peer.held.is_empty())).await;
        server.stop_answering();
    });
    let start = now();
    drop(runtime);
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    drop(server_runtime);
}

#[tokio::test]
async fn a_lock_whose_server_never_answers_can_be_dropped() {
    let (address, _) =
        serve(Router::new().fallback(async |_: Request| pending::<()>().await)).await;
    let throttle = client(&format!("http://{address}")).build().unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(50), throttle.lock("A").into_future());
    assert!(waiting.await.is_err());
}
