//! Lists, which are read from the state and written page by page.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use throttle_http::RequestLimits;
use throttle_runtime::{
    Count, Event, Handle, Labels, LockRequest, Observer, PeerId, Restoration, SemaphoreId, Settings,
};
use throttle_wire::{PeerStatus, SemaphoreOverview};
use tower::ServiceExt as _;

use crate::support::{Server, request, semaphores};

/// Creates `size` peers, each of which asks for one of `A`.
async fn create_peers(server: &Server, size: usize) -> BTreeSet<u64> {
    let mut ids = BTreeSet::new();
    for _ in 0..size {
        let lease = std::time::Duration::from_secs(60);
        let peer = server.handle.new_peer(lease, Labels::default()).await.unwrap();
        server.handle.acquire(peer, "A", LockRequest::now(Count::ONE)).await.unwrap();
        ids.insert(peer.get());
    }
    ids
}

async fn open(server: &Server, path: &str) -> BodyDataStream {
    let request = request(axum::http::Method::GET, path, "");
    let Ok(response) = server.routes.clone().oneshot(request).await;
    response.into_body().into_data_stream()
}

/// How often another task of this thread has run.
fn count_turns() -> Arc<AtomicUsize> {
    let turns = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    turns
}

#[tokio::test(start_paused = true)]
async fn a_list_has_every_peer_once_whether_or_not_the_last_page_is_full() {
    for size in [0, 1, 999, 1_000, 1_001, 2_000, 2_500] {
        let server = Server::start(&[("A", 1_200, 0)]);
        let ids = create_peers(&server, size).await;

        let peers: Vec<PeerStatus> = server.get("/peers/").await.json();
        assert_eq!(peers.len(), size);
        assert!(ids.iter().eq(&peers.iter().map(|peer| peer.id).collect::<BTreeSet<_>>()));

        let semaphore: SemaphoreOverview = server.get("/semaphores/A").await.json();
        assert_eq!(semaphore.held_by.len(), size.min(1_200));
        assert_eq!(semaphore.queue.len(), size.saturating_sub(1_200));
        assert_eq!(semaphore.status.holders, semaphore.held_by.len() as u64);
        assert_eq!(semaphore.status.waiters, semaphore.queue.len() as u64);
        let everybody = semaphore.held_by.iter().map(|holder| holder.peer_id);
        let everybody = everybody.chain(semaphore.queue.iter().map(|waiter| waiter.peer_id));
        assert!(ids.iter().eq(&everybody.collect::<BTreeSet<_>>()));
        assert!(semaphore.held_by.is_sorted_by_key(|holder| holder.fencing_token));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_lives_throughout_is_listed_once_while_others_come_and_go() {
    let server = Server::start(&[("A", 1, 0)]);
    let ids: Vec<u64> = create_peers(&server, 2_500).await.into_iter().collect();
    let mut chunks = open(&server, "/peers/").await;
    let mut body = chunks.next().await.unwrap().unwrap().to_vec();
    for id in ids.iter().step_by(2) {
        server.delete(&format!("/peers/{id}")).await;
    }
    let newcomers = create_peers(&server, 100).await;
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk.unwrap());
    }

    let peers: Vec<PeerStatus> = serde_json::from_slice(&body).unwrap();
    let times = |id| peers.iter().filter(|peer| peer.id == id).count();
    assert!(ids.iter().skip(1).step_by(2).all(|&id| times(id) == 1));
    assert!(ids.iter().step_by(2).chain(&newcomers).all(|&id| times(id) <= 1));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_from_the_state_no_faster_than_the_client_reads_it() {
    let server = Server::start(&[("A", 1, 0)]);
    create_peers(&server, 2_500).await;
    let mut chunks = open(&server, "/peers/").await;
    let mut body = chunks.next().await.unwrap().unwrap().to_vec();
    let everybody = server.handle.peers(None, usize::MAX).await.unwrap().entries;
    assert_eq!(everybody.len(), 2_500);
    for peer in everybody {
        server.handle.remove_peer(peer.id, None).await.unwrap();
    }
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk.unwrap());
    }
    let peers: Vec<PeerStatus> = serde_json::from_slice(&body).unwrap();
    assert!(peers.len() < 500, "{} peers were read, although all are removed", peers.len());
}

/// The memory for a client that reads slowly is bounded.
#[tokio::test(start_paused = true)]
async fn pieces_of_a_list_end_at_32_kilobytes_however_many_locks_and_labels_peers_have() {
    let names: Vec<String> = (0..600).map(|index| format!("{index:0>1000}")).collect();
    let semaphores: Vec<_> = names.iter().map(|name| (name.as_str(), 1_000, 0)).collect();
    let server = Server::start(&semaphores);
    let label = |index: usize| (format!("{index:\u{1}>256}"), "\u{1}".repeat(256));
    let labels = Labels::from_iter((0..16).map(label));
    for id in 1..=20 {
        let restoration = Restoration {
            peer: PeerId::new(id).unwrap(),
            expires_in: std::time::Duration::from_secs(60),
            locks: names.iter().map(|name| (name.clone(), Count::ONE)).collect(),
            labels: labels.clone(),
            sequence: None,
        };
        server.handle.restore(restoration).await.unwrap();
    }
    let turns = count_turns();
    for path in ["/peers/", "/peers/7", "/semaphores", &format!("/semaphores/{}", names[0])] {
        let before = turns.load(Ordering::Relaxed);
        let chunks: Vec<_> = open(&server, path).await.map(Result::unwrap).collect().await;
        assert!(chunks.len() > 2, "{path}");
        let turns = turns.load(Ordering::Relaxed) - before;
        assert!(turns >= chunks.len() - 1, "{path}: other tasks run between two pieces");
        let labels = 16 * 2 * 256 * 6;
        assert!(chunks.iter().all(|chunk| chunk.len() < 32 * 1024 + labels + 2_000), "{path}");
        let body: serde_json::Value = serde_json::from_slice(&chunks.concat()).unwrap();
        match path {
            "/peers/7" => assert_eq!(body["held"].as_array().unwrap().len(), 600),
            "/semaphores" => assert_eq!(body.as_array().unwrap().len(), 600),
            _ => assert!(body.to_string().contains("\"fencing_token\"")),
        }
    }
    let peers: Vec<PeerStatus> = server.get("/peers/").await.json();
    assert_eq!(peers.iter().map(|peer| peer.held.len()).collect::<Vec<_>>(), [600; 20]);
    let page = server.handle.peers(None, usize::MAX).await.unwrap();
    assert_eq!(page.entries.len(), 1, "what is copied at a time is bounded as well");
}

#[tokio::test(start_paused = true)]
async fn long_lists_are_limited_in_number_and_short_ones_are_not() {
    let limits = RequestLimits { listings: 2, ..RequestLimits::default() };
    let server = Server::build(&[("A", 1, 0)], Settings::default(), |api| api.limits(limits));
    create_peers(&server, 1_000).await;
    let mut open_lists = vec![open(&server, "/peers/").await, open(&server, "/semaphores/A").await];
    let refused = server.get("/peers").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.body, "There are 2 long lists being read. Try again later.");
    assert_eq!(server.get("/semaphores").await.status, 200, "it is short");
    // One is read to its end, the other is dropped.
    while open_lists[0].next().await.is_some() {}
    drop(open_lists);
    assert_eq!(server.get("/peers").await.json::<Vec<PeerStatus>>().len(), 1_000);
}

/// The compression reads a few pieces ahead, but not the whole list.
#[tokio::test(start_paused = true)]
async fn a_compressed_list_counts_as_one_until_it_is_read_or_given_up() {
    let limits = RequestLimits { listings: 1, ..RequestLimits::default() };
    let server = Server::build(&[("A", 1, 0)], Settings::default(), |api| api.limits(limits));
    create_peers(&server, 10_000).await;
    let mut request = request(axum::http::Method::GET, "/peers/", "");
    request.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    let Ok(response) = server.routes.clone().oneshot(request).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut chunks = response.into_body().into_data_stream();
    chunks.next().await.unwrap().unwrap();
    assert_eq!(server.get("/semaphores/A").await.status, 429);
    drop(chunks);
    assert_eq!(server.get("/semaphores/A").await.status, 200);
}

/// Numbers and lists agree, even if the client reads slowly.
#[tokio::test(start_paused = true)]
async fn the_numbers_of_a_semaphore_and_its_short_lists_are_from_one_instant() {
    let server = Server::start(&[("A", 1, 0)]);
    let ids: Vec<u64> = create_peers(&server, 3).await.into_iter().collect();
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
    let semaphore: SemaphoreOverview = serde_json::from_slice(&body).unwrap();
    assert_eq!((semaphore.status.holders, semaphore.held_by.len()), (1, 1));
    assert_eq!((semaphore.status.waiters, semaphore.queue.len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_semaphore_that_is_removed_while_it_is_listed_ends_the_lists() {
    let server = Server::start(&[("A", 1, 0)]);
    let mut chunks = open(&server, "/semaphores/A").await;
    let mut body = chunks.next().await.unwrap().unwrap().to_vec();
    let nothing = std::collections::BTreeMap::new();
    server.handle.reconfigure(Settings::default(), &nothing).await.unwrap();
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk.unwrap());
    }
    let semaphore: SemaphoreOverview = serde_json::from_slice(&body).unwrap();
    assert!(semaphore.held_by.is_empty() && semaphore.queue.is_empty());
}

/// An observer that panics when a peer leaves.
struct Fragile;

impl Observer for Fragile {
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, _: SemaphoreId) {}

    fn event(&mut self, event: &Event) {
        assert!(!matches!(event, Event::Removed { .. }), "this is a test");
    }
}

/// A list that ended like a whole one would hide peers.
#[tokio::test(start_paused = true)]
async fn a_list_breaks_off_if_the_service_fails_meanwhile() {
    let configured = semaphores(&[("A", 1, 0)]);
    let handle = Handle::start_observed(Settings::default(), &configured, Box::new(Fragile));
    let server = Server::of(handle);
    let ids = create_peers(&server, 2_500).await;
    let mut lists = Vec::new();
    for path in ["/peers/", "/semaphores/A"] {
        let mut chunks = open(&server, path).await;
        chunks.next().await.unwrap().unwrap();
        lists.push(chunks);
    }
    let removed = server.delete(&format!("/peers/{}", ids.first().unwrap())).await;
    assert_eq!(removed.status, 500);
    for mut chunks in lists {
        let broken_off = chunks.next().await.unwrap();
        broken_off.unwrap_err();
        assert!(chunks.next().await.is_none());
    }
    let refused = server.get("/peers/").await;
    refused.is_text(500, "The server is broken and is about to end.");
}
