//! How a lost lock is noticed and reported.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{Method, header::ACCEPT},
    response::Response,
};
use throttle_client::{Code, LockError, Lost, Peer, PeerId};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::{
    real_server::{LONG, MUTEX, RealServer, routes},
    scripted_server::{client, serve},
};

const TWO: &[(&str, u64, i32)] = &[("A", 1, 0), ("B", 5, 1)];

/// A server that has been running for a while. A removal is told from a restart by the server's uptime, which
/// must exceed the delays of a busy machine for that.
async fn running_server(semaphores: &[(&str, u64, i32)]) -> RealServer {
    let server = RealServer::with(semaphores).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server
}

/// Removes a peer as an operator does.
async fn remove(server: &RealServer, peer: &Peer) {
    assert!(server.client().remove_peer(peer.id().unwrap()).await.unwrap());
}

#[tokio::test]
async fn a_release_reports_that_the_peer_was_removed_and_another_has_the_lock() {
    let server = running_server(MUTEX).await;
    let (ann, bob) = (server.quiet_peer(), server.quiet_peer());
    let lock = ann.lock("A").await.unwrap();
    remove(&server, &ann).await;
    let other = bob.lock("A").try_lock().await.unwrap().expect("the lock is free");
    assert!(lock.is_held(), "the removal is not known yet");
    assert_eq!(lock.release().await, Err(Lost::Revoked));
    assert_eq!(ann.lost().await, Lost::Revoked);
    other.release().await.unwrap();
}

#[tokio::test]
async fn a_thread_outside_of_tokio_can_check_whether_a_peer_is_lost() {
    let server = running_server(MUTEX).await;
    let ann = server.quiet_peer();
    let check = || {
        let ann = ann.clone();
        thread::spawn(move || ann.check()).join().unwrap()
    };
    assert_eq!(check(), Ok(()), "it is not at the server yet");
    let lock = ann.lock("A").await.unwrap();
    assert_eq!(check(), Ok(()));
    remove(&server, &ann).await;
    assert_eq!(lock.release().await, Err(Lost::Revoked));
    assert_eq!(check(), Err(Lost::Revoked));
}

#[tokio::test]
async fn a_release_that_finds_the_peer_removed_ends_its_other_locks() {
    let server = running_server(TWO).await;
    let ann = server.quiet_peer();
    let outer = ann.lock("B").await.unwrap();
    let inner = ann.lock("A").await.unwrap();
    remove(&server, &ann).await;
    assert_eq!(inner.release().await, Err(Lost::Revoked));
    assert_eq!(outer.check(), Err(Lost::Revoked));
}

#[tokio::test]
async fn a_shrink_reports_that_the_peer_was_removed() {
    let server = running_server(TWO).await;
    let ann = server.quiet_peer();
    let mut lock = ann.lock("B").count(3).await.unwrap();
    remove(&server, &ann).await;
    let refused = lock.shrink(1).await;
    assert!(matches!(refused, Err(LockError::Lost { lost: Lost::Revoked, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_release_at_a_restarted_server_is_no_loss() {
    let server = RealServer::with(TWO).await;
    let ann = server.quiet_peer();
    let outer = ann.lock("B").await.unwrap();
    let inner = ann.lock("A").await.unwrap();
    server.restart_with(TWO);
    inner.release().await.unwrap();
    // The release has shown that the server forgot the peer, so the other lock is restored.
    let peers = server.until(|peers| peers.len() == 1).await;
    assert_eq!(peers[0].held.iter().map(|lock| &*lock.semaphore).collect::<Vec<_>>(), ["B"]);
    outer.release().await.unwrap();
}

#[tokio::test]
async fn a_shrink_at_a_restarted_server_is_part_of_the_restore() {
    let server = RealServer::with(TWO).await;
    let ann = server.quiet_peer();
    let mut lock = ann.lock("B").count(5).await.unwrap();
    server.restart_with(TWO);
    lock.shrink(2).await.unwrap();
    assert_eq!(server.client().remainder("B").await.unwrap(), 3);
    lock.release().await.unwrap();
}

/// Servers of version 0.5 report no uptime, so a removal cannot be told from a restart.
#[tokio::test]
async fn a_release_at_a_server_that_reports_no_uptime_is_no_loss() {
    let inside = routes(MUTEX);
    let without_problems = move |mut request: Request| {
        let inside = inside.clone();
        async move {
            request.headers_mut().remove(ACCEPT);
            inside.oneshot(request).await.unwrap()
        }
    };
    let (address, _) = serve(Router::new().fallback(without_problems)).await;
    let throttle = client(&format!("http://{address}")).build().unwrap();
    let ann = Peer::builder(&throttle).lease(5 * LONG).build();
    let lock = ann.lock("A").await.unwrap();
    assert!(throttle.remove_peer(ann.id().unwrap()).await.unwrap());
    assert_eq!(lock.release().await, Ok(()));
}

/// Holds back the first answer to a request for a lock.
#[derive(Clone, Default)]
struct Delay {
    has_held_back: Arc<AtomicBool>,
    held_back: Arc<Notify>,
    go: Arc<Notify>,
}

#[tokio::test]
async fn a_grant_that_the_server_forgot_since_is_requested_again() {
    let server = RealServer::with(TWO).await;
    let delay = Delay::default();
    let (inner, url) = (delay.clone(), server.url.clone());
    let http = throttle_client::http_client_builder().no_proxy().build().unwrap();
    // Forwards every request, so that the answer held back is a real one.
    let pass = move |request: Request| {
        let (delay, url, http) = (inner.clone(), url.clone(), http.clone());
        async move {
            let (parts, body) = request.into_parts();
            let is_about_a = parts.method == Method::PUT && parts.uri.path().ends_with("/A");
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let request = http.request(parts.method, format!("{url}{}", parts.uri));
            let answer = request.headers(parts.headers).body(body).send().await.unwrap();
            let mut response = Response::builder().status(answer.status());
            *response.headers_mut().unwrap() = answer.headers().clone();
            let body = answer.bytes().await.unwrap();
            if is_about_a && !delay.has_held_back.swap(true, Ordering::SeqCst) {
                delay.held_back.notify_one();
                delay.go.notified().await;
            }
            response.body(axum::body::Body::from(body)).unwrap()
        }
    };
    let (address, _) = serve(Router::new().fallback(pass)).await;
    let throttle = client(&format!("http://{address}")).build().unwrap();
    let often = Duration::from_millis(20);
    let ann = Peer::builder(&throttle).lease(LONG).heartbeat_every(often).build();
    let outer = ann.lock("B").await.unwrap();
    let requesting = tokio::spawn(ann.lock("A").into_future());
    delay.held_back.notified().await;

    // The server that granted the lock ends. At the next server the peer is restored, and the lock is granted
    // to another peer.
    server.restart_with(TWO);
    server.until(|peers| peers.len() == 1).await;
    let bob = server.quiet_peer();
    let other = bob.lock("A").try_lock().await.unwrap().expect("this server has not granted it");
    delay.go.notify_one();
    server.until_somebody_waits().await;
    assert!(!requesting.is_finished(), "two peers hold the mutex");
    other.release().await.unwrap();
    let lock = requesting.await.unwrap().unwrap();
    assert_eq!(server.client().semaphore("A").await.unwrap().held_by[0].peer_id, lock.peer_id());
    lock.release().await.unwrap();
    outer.release().await.unwrap();
}

/// A peer with these locks that a dead process has left at the server.
async fn left_behind(server: &RealServer, held: &[(&str, u64)]) -> PeerId {
    let throttle = server.client();
    let peer = throttle.new_peer(LONG).await.unwrap();
    for &(semaphore, count) in held {
        let _ = throttle.acquire(peer, semaphore, count).await.unwrap();
    }
    peer
}

fn resumed(server: &RealServer, peer: PeerId, held: &[(&str, u64)]) -> Peer {
    let held = held.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
    Peer::builder(&server.client()).lease(LONG).resume(peer, held).build()
}

#[tokio::test]
async fn a_lock_that_the_server_does_not_confirm_after_a_conflict_is_lost() {
    let server = RealServer::with(TWO).await;
    for held in [&[("B", 1)][..], &[("B", 4)]] {
        let id = left_behind(&server, held).await;
        let ann = resumed(&server, id, &[("A", 1), ("B", 2)]);
        let lost = tokio::time::timeout(LONG, ann.lost());
        assert_eq!(lost.await.unwrap(), Lost::Refused(Code::RestoreConflict));
        assert_eq!(ann.time_left(), Duration::ZERO);
        // The rest of the peer is removed from the server.
        server.until(|peers| peers.is_empty()).await;
    }
}

#[tokio::test]
async fn a_peer_with_more_locks_than_it_was_resumed_with_continues() {
    let server = RealServer::with(TWO).await;
    let id = left_behind(&server, &[("B", 2), ("A", 1)]).await;
    let ann = resumed(&server, id, &[("B", 2)]);
    let lock = ann.lock("B").count(2).wait_at_most(LONG).await.unwrap();
    assert_eq!(lock.peer_id(), id);
    assert!(lock.is_held());
    lock.release().await.unwrap();
}

#[tokio::test]
async fn a_peer_is_resumed_whether_or_not_the_server_knows_it() {
    let server = RealServer::with(TWO).await;
    let id = left_behind(&server, &[("B", 2), ("A", 1)]).await;
    for restart in [false, true] {
        if restart {
            server.restart_with(TWO);
        }
        let ann = resumed(&server, id, &[("A", 1), ("B", 2)]);
        assert_eq!(
            (ann.id(), ann.time_left()),
            (Some(id), Duration::ZERO),
            "the server has not confirmed it"
        );
        let outer = ann.lock("B").count(2).wait_at_most(LONG).await.unwrap();
        let inner = ann.lock("A").wait_at_most(LONG).await.unwrap();
        assert_eq!((outer.peer_id(), inner.peer_id()), (id, id));
        assert!(ann.time_left() > LONG / 2 && inner.is_held());
        let again = ann.lock("A").await;
        assert!(matches!(again, Err(LockError::AlreadyHeld { .. })), "{again:?}");
        assert_eq!(server.client().remainder("B").await.unwrap(), 3);
        if restart {
            drop((ann, inner, outer));
            server.until(|peers| peers.is_empty()).await;
        } else {
            // Like a process that dies.
            std::mem::forget((ann, inner, outer));
        }
    }
}

#[tokio::test]
async fn a_peer_whose_heartbeat_was_stopped_stays_at_the_server_and_can_be_resumed() {
    let server = RealServer::with(MUTEX).await;
    let ann = server.quiet_peer();
    let lock = ann.lock("A").await.unwrap();
    let id = lock.peer_id();
    ann.clone().stop_heartbeat().await;
    assert_eq!((lock.lost().await, ann.lost().await), (Lost::Closed, Lost::Closed));
    drop((lock, ann));
    assert_eq!(server.client().remainder("A").await.unwrap(), 0);
    let lock = resumed(&server, id, &[("A", 1)]).lock("A").wait_at_most(LONG).await.unwrap();
    assert_eq!(lock.peer_id(), id);
    lock.release().await.unwrap();
    assert_eq!(server.client().peers().await.unwrap(), []);
}
