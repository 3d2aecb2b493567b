//! Every method against the real routes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use metrics::NoopRecorder;
use throttle_client::{Admission, Client, Code, Error, Labels, Reloaded, Restore, RetryPolicy};
use throttle_http::{Api, Metrics, RequestLimits};
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};

use crate::scripted_server::{LEASE, client, serve};

/// A wait longer than any test.
const LONG: Duration = Duration::from_secs(60);

/// `A` has a maximum of five; `B` is a mutex of a higher level.
fn start() -> Handle {
    let semaphore =
        |max, level| SemaphoreConfig { max: Count::new(max).unwrap(), level: Level(level) };
    let semaphores = [("A", semaphore(5, 0)), ("B", semaphore(1, 1)), ("/&", semaphore(1, 0))];
    let semaphores = semaphores.map(|(name, config)| (name.to_owned(), config));
    let settings = Settings { max_peers: 3, max_waiters: 1, ..Settings::default() };
    Handle::start(settings, &BTreeMap::from(semaphores))
}

/// Serves the routes below the path of another application. Returns the URL.
async fn url(api: Api) -> String {
    let (address, _) = serve(Router::new().nest("/throttle", api.routes())).await;
    format!("http://{address}/throttle")
}

/// A client without retries, which would hide failed attempts.
async fn connect(api: Api) -> Client {
    client(&url(api).await).retry(RetryPolicy::none()).build().unwrap()
}

async fn service() -> (Client, Handle) {
    let handle = start();
    (connect(Api::new(handle.clone())).await, handle)
}

fn restore(peer_id: u64, acquired: &[(&str, i64)]) -> Restore {
    let acquired = acquired.iter().map(|&(name, count)| (name.to_owned(), count));
    Restore {
        expires_in: LEASE,
        peer_id,
        acquired: acquired.collect(),
        labels: Labels::new(),
        sequence: None,
    }
}

/// The code of a refusal.
fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    let error = result.unwrap_err();
    error.code().unwrap_or_else(|| panic!("no refusal: {error:?}"))
}

#[tokio::test]
async fn a_peer_is_created_renewed_and_removed() {
    let (client, _) = service().await;
    let peer = client.new_peer(LEASE).labels([("host", "worker-7")]).await.unwrap();
    client.heartbeat(peer, LEASE * 2).await.unwrap();

    let shown = client.peer(peer).await.unwrap();
    assert_eq!((shown.id, shown.expires_in), (peer, LEASE * 2));
    assert!(LEASE < shown.time_left && shown.time_left <= LEASE * 2);
    assert_eq!(shown.labels, Labels::from([("host".to_owned(), "worker-7".to_owned())]));
    assert_eq!((shown.held, shown.pending), (Vec::new(), None));

    let ids: Vec<_> = client.peers().await.unwrap().into_iter().map(|peer| peer.id).collect();
    assert_eq!(ids, [peer]);

    assert!(client.remove_peer(peer).await.unwrap());
    assert!(!client.remove_peer(peer).await.unwrap());
    assert_eq!(client.peers().await.unwrap(), []);
    assert_eq!(code(client.peer(peer).await), Code::UnknownPeer);
    assert_eq!(code(client.heartbeat(peer, LEASE).await), Code::UnknownPeer);
    assert_eq!(code(client.is_acquired(peer).await), Code::UnknownPeer);
}

#[tokio::test]
async fn locks_are_granted_queued_inspected_and_released() {
    let (client, _) = service().await;
    let ann = client.new_peer(LEASE).await.unwrap();
    let bob = client.new_peer(LEASE).await.unwrap();

    let Admission::Granted { token: Some(token) } = client.acquire(ann, "A", 3).await.unwrap()
    else {
        panic!("the lock is free")
    };
    let admission = client.acquire(bob, "A", 4).expires_in(LEASE * 3).await.unwrap();
    assert_eq!(admission, Admission::Queued);
    assert!(client.is_acquired(ann).await.unwrap());
    assert!(!client.is_acquired(bob).await.unwrap());
    assert_eq!(client.peer(bob).await.unwrap().expires_in, LEASE * 3);
    assert_eq!(client.remainder("A").await.unwrap(), 2);

    let shown = client.semaphore("A").await.unwrap();
    let [holder] = &*shown.held_by else { panic!("{shown:?}") };
    assert_eq!((holder.peer_id, holder.count, holder.fencing_token), (ann, 3, token));
    let [waiter] = &*shown.queue else { panic!("{shown:?}") };
    assert_eq!((waiter.peer_id, waiter.count, waiter.parked), (bob, 4, false));
    let summaries = client.semaphores().await.unwrap();
    let numbers: Vec<_> =
        summaries.iter().map(|it| (&*it.name, it.max, it.level, it.held, it.pending)).collect();
    assert_eq!(numbers, [("/&", 1, 0, 0, 0), ("A", 5, 0, 3, 4), ("B", 1, 1, 0, 0)]);

    let held = client.holder("A", token).await.unwrap().expect("it is held");
    assert_eq!((held.peer_id, held.count, held.fencing_token), (ann, 3, token));
    assert!(LEASE / 2 < held.time_left && held.time_left <= LEASE);
    assert!(client.is_held("A", token).await.unwrap());
    for other in [0, token - 1, token + 1, u64::MAX] {
        assert!(!client.is_held("A", other).await.unwrap(), "{other}");
    }
    assert!(!client.is_held("B", token).await.unwrap());
    assert_eq!(code(client.is_held("C", token).await), Code::UnknownSemaphore);

    client.release(ann, "A").await.unwrap();
    client.release(ann, "A").await.unwrap();
    assert!(!client.is_held("A", token).await.unwrap());
    let Admission::Granted { token: Some(next) } = client.acquire(bob, "A", 4).await.unwrap()
    else {
        panic!("the lock is granted to the next waiter")
    };
    assert!(next > token);
}

#[tokio::test]
async fn a_blocked_acquire_is_answered_when_the_lock_is_granted() {
    let (client, _) = service().await;
    let ann = client.new_peer(LEASE).await.unwrap();
    let bob = client.new_peer(LEASE).await.unwrap();
    let _ = client.acquire(ann, "B", 1).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(bob, "B", 1).block_for(LONG).await }
    });
    until(async || client.semaphore("B").await.unwrap().status.waiters == 1).await;
    client.release(ann, "B").await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Ok(Admission::Granted { .. })));
}

/// The timeout is shorter than the wait, and is added to it.
#[tokio::test]
async fn the_timeout_of_the_client_does_not_shorten_a_wait() {
    let url = url(Api::new(start())).await;
    let hasty = client(&url).timeout(Duration::from_millis(500)).retry(RetryPolicy::none());
    let (client, hasty) = (client(&url).build().unwrap(), hasty.build().unwrap());
    let ann = client.new_peer(LEASE).await.unwrap();
    let bob = client.new_peer(LEASE).await.unwrap();
    let _ = client.acquire(ann, "B", 1).await.unwrap();
    let waiting = hasty.acquire(bob, "B", 1).block_for(Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap(), Admission::Queued);
}

/// S15
#[tokio::test]
async fn a_dropped_request_closes_its_connection_and_the_waiter_is_parked() {
    let (client, _) = service().await;
    let ann = client.new_peer(LEASE).await.unwrap();
    let bob = client.new_peer(LEASE).await.unwrap();
    let _ = client.acquire(ann, "B", 1).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(bob, "B", 1).block_for(LONG).await }
    });
    until(async || client.peer(bob).await.unwrap().pending.is_some()).await;
    waiting.abort();
    until(async || client.peer(bob).await.unwrap().pending.is_some_and(|lock| lock.parked)).await;
}

/// S16
#[tokio::test]
async fn a_wait_ends_at_once_when_the_pending_lock_or_the_peer_is_removed() {
    let (client, _) = service().await;
    let ann = client.new_peer(LEASE).await.unwrap();
    let bob = client.new_peer(LEASE).await.unwrap();
    let _ = client.acquire(ann, "B", 1).await.unwrap();
    for expected in [Code::Cancelled, Code::UnknownPeer] {
        let waiting = tokio::spawn({
            let client = client.clone();
            async move { client.acquire(bob, "B", 1).block_for(LONG).await }
        });
        until(async || client.peer(bob).await.unwrap().pending.is_some()).await;
        if expected == Code::Cancelled {
            client.release(bob, "B").await.unwrap();
        } else {
            client.remove_peer(bob).await.unwrap();
        }
        assert_eq!(code(waiting.await.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_wait_ends_early_at_a_draining_server_which_is_not_ready() {
    let (client, handle) = service().await;
    assert!(client.ready().await.unwrap());
    let ann = client.new_peer(LEASE).await.unwrap();
    let bob = client.new_peer(LEASE).await.unwrap();
    let _ = client.acquire(ann, "B", 1).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(bob, "B", 1).block_for(LONG).await }
    });
    until(async || client.peer(bob).await.unwrap().pending.is_some()).await;
    handle.drain();
    assert_eq!(waiting.await.unwrap().unwrap(), Admission::Queued);
    assert!(!client.ready().await.unwrap());
    client.health().await.unwrap();
}

#[tokio::test]
async fn a_peer_is_restored_with_its_locks() {
    let (client, _) = service().await;
    // An id of version 0.5, which has more than 53 bits.
    let peer = u64::MAX;
    client.restore(&restore(peer, &[("A", 7), ("/&", 1)])).await.unwrap();
    client.restore(&restore(peer, &[("A", 7), ("/&", 1)])).await.unwrap();
    assert_eq!(client.remainder("A").await.unwrap(), -2);
    assert_eq!(client.remainder("/&").await.unwrap(), 0);
    assert_eq!(client.peer(peer).await.unwrap().held.len(), 2);

    assert_eq!(code(client.restore(&restore(peer, &[("A", 1)])).await), Code::RestoreConflict);
    assert_eq!(code(client.restore(&restore(1, &[("C", 1)])).await), Code::UnknownSemaphore);
    assert_eq!(code(client.restore(&restore(1, &[("A", 0)])).await), Code::InvalidLockCount);
    assert_eq!(code(client.restore(&restore(1, &[("A", -1)])).await), Code::InvalidLockCount);
    assert_eq!(code(client.restore(&restore(0, &[])).await), Code::InvalidField);
}

#[tokio::test]
async fn every_refusal_of_a_lock_has_its_code() {
    let (client, _) = service().await;
    let ann = client.new_peer(LEASE).await.unwrap();
    let bob = client.new_peer(LEASE).await.unwrap();
    let cid = client.new_peer(LEASE).await.unwrap();
    let _ = client.acquire(ann, "A", 5).await.unwrap();
    let _ = client.acquire(bob, "A", 1).await.unwrap();

    assert_eq!(code(client.acquire(1, "A", 1).await), Code::UnknownPeer);
    assert_eq!(code(client.acquire(ann, "C", 1).await), Code::UnknownSemaphore);
    assert_eq!(code(client.acquire(ann, "A", 0).await), Code::InvalidLockCount);
    assert_eq!(code(client.acquire(ann, "A", u64::MAX).await), Code::LockCountTooLarge);
    assert_eq!(code(client.acquire(cid, "A", 6).await), Code::NeverAcquirable);
    assert_eq!(code(client.acquire(ann, "B", 1).await), Code::LockHierarchyViolation);
    assert_eq!(code(client.acquire(bob, "/&", 1).await), Code::AlreadyPending);
    assert_eq!(code(client.acquire(cid, "A", 1).await), Code::TooManyWaiters);
    let limits = RequestLimits::default();
    let name = "x".repeat(limits.name_length + 1);
    assert_eq!(code(client.acquire(ann, &name, 1).await), Code::NameTooLong);
    let endless = Duration::MAX;
    assert_eq!(code(client.acquire(ann, "A", 1).expires_in(endless).await), Code::ExpiresInTooLong);
    assert_eq!(code(client.acquire(ann, "A", 1).block_for(endless).await), Code::BlockForTooLong);
    assert_eq!(code(client.new_peer(endless).await), Code::ExpiresInTooLong);
    assert_eq!(code(client.new_peer(LEASE).await), Code::TooManyPeers);
    assert_eq!(code(client.release(1, "A").await), Code::UnknownPeer);
    assert_eq!(code(client.release(ann, "C").await), Code::UnknownSemaphore);
    assert_eq!(code(client.remainder("").await), Code::UnknownSemaphore);
    assert_eq!(code(client.semaphore("C").await), Code::UnknownSemaphore);
    let long = [("host", "x".repeat(limits.label_length + 1))];
    assert_eq!(code(client.new_peer(LEASE).labels(long).await), Code::LabelsTooLarge);
}

#[tokio::test]
async fn semaphores_may_have_any_name() {
    let names = ["/&", " ", "ä", "%41", "%2e%2e", "is_acquired", "...", "a\tb\n", "?#", "A B+C"];
    let one = SemaphoreConfig { max: Count::ONE, level: Level(0) };
    let semaphores = names.map(|name| (name.to_owned(), one)).into();
    let client = connect(Api::new(Handle::start(Settings::default(), &semaphores))).await;
    for name in names {
        let peer = client.new_peer(LEASE).await.unwrap();
        let admission = client.acquire(peer, name, 1).await.unwrap();
        assert!(matches!(admission, Admission::Granted { .. }), "{name:?}");
        assert_eq!(client.peer(peer).await.unwrap().held[0].semaphore, name);
        assert_eq!(client.semaphore(name).await.unwrap().status.name, name);
        let Admission::Granted { token: Some(token) } = admission else { panic!("{admission:?}") };
        assert!(client.is_held(name, token).await.unwrap(), "{name:?}");
        assert_eq!(client.remainder(name).await.unwrap(), 0);
        client.release(peer, name).await.unwrap();
        assert_eq!(client.remainder(name).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn health_version_metrics_and_reload_are_answered() {
    let (client, handle) = service().await;
    client.health().await.unwrap();
    assert!(client.ready().await.unwrap());
    assert_eq!(client.version().await.unwrap(), env!("CARGO_PKG_VERSION"));
    // Bare routes have neither metrics nor a configuration.
    assert_eq!(code(client.metrics().await), Code::UnknownRoute);
    assert_eq!(code(client.reload().await), Code::UnknownRoute);

    let metrics =
        Metrics::new(Arc::new(NoopRecorder), Arc::new(|| "throttle_peers 0\n".to_owned()));
    let reloaded = Reloaded { added: vec!["C".to_owned()], ..Reloaded::default() };
    let outcomes = [Ok(reloaded.clone()), Err("line 3: no such key".to_owned())];
    let turn = AtomicUsize::new(0);
    let api = Api::new(handle)
        .metrics(metrics)
        .reload(move || std::future::ready(outcomes[turn.fetch_add(1, Ordering::Relaxed)].clone()));
    let client = connect(api).await;
    assert!(client.metrics().await.unwrap().contains("throttle_peers 0"));
    assert_eq!(client.reload().await.unwrap(), reloaded);
    let error = client.reload().await.unwrap_err();
    assert_eq!(error.to_string(), "refused with 422 reload_refused: line 3: no such key");
}

/// Repeats the check until it is true. Its requests let other tasks run.
async fn until(mut it_is_so: impl AsyncFnMut() -> bool) {
    while !it_is_so().await {}
}

#[tokio::test]
async fn a_route_is_read_as_the_server_wrote_it() {
    let (client, _) = service().await;
    assert_eq!(client.get(&["health"]).await.unwrap(), "Ok");
    let semaphore = client.get(&["semaphores", "/&"]).await.unwrap();
    assert!(semaphore.starts_with(r#"{"name":"/&","max":1,"#), "{semaphore}");
    assert_eq!(code(client.get(&["semaphores", "X"]).await), Code::UnknownSemaphore);
    assert_eq!(code(client.post_empty(&["admin", "reload"]).await), Code::UnknownRoute);
    let dots = client.get(&["semaphores", ".."]).await;
    assert!(matches!(dots, Err(Error::InvalidName { .. })), "{dots:?}");
}
