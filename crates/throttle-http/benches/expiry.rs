//! How long it takes to expire very many peers together, and for how long other tasks wait meanwhile.
//!
//! `cargo bench -p throttle-http --bench expiry` measures; `cargo test -p throttle-http --bench expiry`
//! runs each question once, at its smallest size. The leases end a nanosecond apart, and the metrics of a
//! server observe it. A line has the time until the last of these peers is gone. Printed above it is the
//! longest time for which another task of the same thread had to wait, which is the longest critical section
//! of the timer.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use divan::{Bencher, counter::ItemsCount};
use futures_util::FutureExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use throttle_http::Metrics;
use throttle_runtime::{Count, Handle, Labels, Level, LockRequest, SemaphoreConfig, Settings};
use tokio::{runtime::Builder, task, time};

fn main() {
    divan::main();
}

/// Peers that neither hold nor await anything.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn idle(bencher: Bencher<'_, '_>, peers: u64) {
    measure(bencher, peers, None);
}

/// Peers that hold a lock each, all on one semaphore.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn holding(bencher: Bencher<'_, '_>, peers: u64) {
    measure(bencher, peers, Some(Count::MAX));
}

/// Peers that poll for a mutex one of them holds.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn waiting(bencher: Bencher<'_, '_>, peers: u64) {
    measure(bencher, peers, Some(Count::ONE));
}

/// Creates all peers at one instant, with leases that differ by nanoseconds. If there is a `max`, each asks for
/// one of a semaphore with this maximum.
fn measure(bencher: Bencher<'_, '_>, peers: u64, max: Option<Count>) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O starts anywhere");
    // Outside of the runtime the clock would not be the paused one.
    let _context = runtime.enter();
    let expiring = || {
        let handle = runtime.block_on(create_peers(peers, max));
        // Time advances with the first poll. A second one would run the timer.
        assert!(time::advance(LEASE).now_or_never().is_none());
        handle
    };
    let mut pauses = Vec::new();
    bencher.with_inputs(expiring).counter(ItemsCount::new(peers)).bench_local_refs(|handle| {
        pauses.push(runtime.block_on(longest_pause(handle)));
        assert_eq!(runtime.block_on(handle.peer_count()), Ok(0));
    });
    pauses.sort_unstable();
    report(pauses.get(pauses.len() / 2));
}

/// Waits until all peers are gone, and returns the longest time for which this task had to wait.
#[expect(clippy::disallowed_methods, reason = "what takes time is measured, not what waits for it")]
async fn longest_pause(handle: &Handle) -> Duration {
    let mut longest = Duration::ZERO;
    while handle.peer_count().await.unwrap() > 0 {
        let before = Instant::now();
        task::yield_now().await;
        longest = longest.max(before.elapsed());
    }
    longest
}

#[expect(clippy::print_stdout, reason = "divan has no place for it")]
fn report(pause: Option<&Duration>) {
    if let Some(pause) = pause {
        println!("longest pause of others (median): {pause:?}");
    }
}

async fn create_peers(peers: u64, max: Option<Count>) -> Handle {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.01, 0.1, 1.0, 10.0, 100.0])
        .expect("there are buckets")
        .build_recorder();
    let render = recorder.handle();
    let metrics = Metrics::new(Arc::new(recorder), Arc::new(move || render.render()));
    let db = SemaphoreConfig { max: max.unwrap_or(Count::ONE), level: Level(0) };
    let semaphores = BTreeMap::from([("db".to_owned(), db)]);
    let handle = Handle::start_observed(Settings::default(), &semaphores, metrics.observer());
    for number in 0..peers {
        let lease = LEASE - Duration::from_nanos(number);
        let peer = handle.new_peer(lease, Labels::default()).await.expect("there is room");
        if max.is_some() {
            handle
                .acquire(peer, "db", LockRequest::now(Count::ONE))
                .await
                .expect("the count does not exceed the maximum");
        }
    }
    assert_eq!(handle.peer_count().await.unwrap() as u64, peers, "time stands still");
    handle
}

/// All sizes for a measurement, the smallest one for a test.
fn sizes() -> &'static [u64] {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let all = &[1_000, 10_000, 100_000, 1_000_000];
    if measuring { all } else { &all[..1] }
}

/// Short enough that the passed time does not count as a stall of the server.
const LEASE: Duration = Duration::from_secs(1);
