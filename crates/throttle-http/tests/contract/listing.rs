//! Lists of any length, written page by page.

use std::collections::BTreeSet;

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use throttle_runtime::{Ask, Count, Labels};
use throttle_wire::{Peer, Semaphore};
use tower::ServiceExt as _;

use crate::support::{Server, request};

/// So many peers that hold one of `A` each.
async fn crowd(server: &Server, size: usize) -> BTreeSet<u64> {
    let mut ids = BTreeSet::new();
    for _ in 0..size {
        let lease = std::time::Duration::from_secs(60);
        let peer = server.handle.new_peer(lease, Labels::default()).await.unwrap();
        server.handle.acquire(peer, "A", Ask::now(Count::ONE)).await.unwrap();
        ids.insert(peer.get());
    }
    ids
}

async fn open(server: &Server, path: &str) -> BodyDataStream {
    let request = request(axum::http::Method::GET, path, "");
    let Ok(response) = server.routes.clone().oneshot(request).await;
    response.into_body().into_data_stream()
}

#[tokio::test(start_paused = true)]
async fn a_list_has_everybody_once_whether_or_not_the_last_page_is_full() {
    for size in [0, 1, 999, 1_000, 1_001, 2_000, 2_500] {
        let server = Server::start(&[("A", 1_200, 0)]);
        let ids = crowd(&server, size).await;

        let peers: Vec<Peer> = server.get("/peers/").await.json();
        assert_eq!(peers.len(), size);
        assert!(ids.iter().eq(&peers.iter().map(|peer| peer.id).collect::<BTreeSet<_>>()));

        let semaphore: Semaphore = server.get("/semaphores/A").await.json();
        assert_eq!(semaphore.held_by.len(), size.min(1_200));
        assert_eq!(semaphore.queue.len(), size.saturating_sub(1_200));
        assert_eq!(semaphore.summary.holders, semaphore.held_by.len() as u64);
        assert_eq!(semaphore.summary.waiters, semaphore.queue.len() as u64);
        let everybody = semaphore.held_by.iter().map(|holder| holder.peer_id);
        let everybody = everybody.chain(semaphore.queue.iter().map(|waiter| waiter.peer_id));
        assert!(ids.iter().eq(&everybody.collect::<BTreeSet<_>>()));
        assert!(semaphore.held_by.is_sorted_by_key(|holder| holder.fencing_token));
    }
}

#[tokio::test(start_paused = true)]
async fn who_lives_all_the_while_is_listed_once_although_others_come_and_go() {
    let server = Server::start(&[("A", 1, 0)]);
    let ids: Vec<u64> = crowd(&server, 2_500).await.into_iter().collect();
    let mut chunks = open(&server, "/peers/").await;
    let mut body = chunks.next().await.unwrap().unwrap().to_vec();
    for id in ids.iter().step_by(2) {
        server.delete(&format!("/peers/{id}")).await;
    }
    let newcomers = crowd(&server, 100).await;
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk.unwrap());
    }

    let peers: Vec<Peer> = serde_json::from_slice(&body).unwrap();
    let times = |id| peers.iter().filter(|peer| peer.id == id).count();
    assert!(ids.iter().skip(1).step_by(2).all(|&id| times(id) == 1));
    assert!(ids.iter().step_by(2).chain(&newcomers).all(|&id| times(id) <= 1));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_from_the_state_no_faster_than_the_client_takes_it() {
    let server = Server::start(&[("A", 1, 0)]);
    crowd(&server, 2_500).await;
    let mut chunks = open(&server, "/peers/").await;
    let first = chunks.next().await.unwrap().unwrap();
    assert_eq!(first.windows(4).filter(|window| window == b"\"id\"").count(), 100);
    drop(chunks);

    let mut chunks = open(&server, "/peers/").await;
    chunks.next().await.unwrap().unwrap();
    for peer in server.handle.peers(None, 2_500) {
        server.handle.remove_peer(peer.1.id).await.unwrap();
    }
    assert_eq!(chunks.next().await.unwrap().unwrap(), "]", "nobody is left to be listed");
    assert!(chunks.next().await.is_none());
}

/// Numbers and lists do not contradict each other, however slowly they are read.
#[tokio::test(start_paused = true)]
async fn the_numbers_of_a_semaphore_and_its_short_lists_are_of_one_instant() {
    let server = Server::start(&[("A", 1, 0)]);
    let ids: Vec<u64> = crowd(&server, 3).await.into_iter().collect();
    for id in &ids {
        server.put(&format!("/peers/{id}/A"), "1").await;
    }
    let mut chunks = open(&server, "/semaphores/A").await;
    let mut body = chunks.next().await.unwrap().unwrap().to_vec();
    for id in &ids {
        server.delete(&format!("/peers/{id}")).await;
    }
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk.unwrap());
    }
    let semaphore: Semaphore = serde_json::from_slice(&body).unwrap();
    assert_eq!((semaphore.summary.holders, semaphore.held_by.len()), (1, 1));
    assert_eq!((semaphore.summary.waiters, semaphore.queue.len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_semaphore_that_is_removed_while_it_is_listed_ends_the_lists() {
    let server = Server::start(&[("A", 1, 0)]);
    let mut chunks = open(&server, "/semaphores/A").await;
    let mut body = chunks.next().await.unwrap().unwrap().to_vec();
    let nothing = std::collections::BTreeMap::new();
    server.handle.reconfigure(throttle_runtime::Settings::default(), &nothing).unwrap();
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk.unwrap());
    }
    let semaphore: Semaphore = serde_json::from_slice(&body).unwrap();
    assert!(semaphore.held_by.is_empty() && semaphore.queue.is_empty());
}
