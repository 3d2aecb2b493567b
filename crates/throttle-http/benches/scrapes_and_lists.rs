//! How long scrapes, lists and reloads take with very many semaphores or locks.
//!
//! `cargo bench -p throttle-http --bench scrapes_and_lists` measures; `cargo test -p throttle-http --bench scrapes_and_lists`
//! runs each question once, at its smallest size. The goals for 10,000 semaphores: a scrape in less than
//! 300 ms, and no page or reload that makes other requests wait for longer than 20 ms.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request};
use divan::{Bencher, black_box, counter::ItemsCount};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use throttle_http::{Api, Histograms, Metrics};
use throttle_runtime::{
    Count, Handle, Labels, Level, PeerId, Restoration, SemaphoreConfig, Settings,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinHandle, yield_now},
};
use tower::ServiceExt as _;

fn main() {
    divan::main();
}

/// A scrape with all histograms. Each has counted something.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn scrape_with_histograms(bencher: Bencher<'_, '_>, semaphores: u32) {
    get(bencher, semaphores, Histograms::Full, "/metrics");
}

/// A scrape without histograms.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn scrape_without_histograms(bencher: Bencher<'_, '_>, semaphores: u32) {
    get(bencher, semaphores, Histograms::Off, "/metrics");
}

/// A scrape that is compressed, as Prometheus asks for it. Printed above each line: the longest time for which
/// another task of the same thread had to wait.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn scrape_compressed(bencher: Bencher<'_, '_>, semaphores: u32) {
    get_compressed(bencher, semaphores, Histograms::Full, "/metrics");
}

/// The compressed list of all semaphores, with the same pause. It is much shorter than the text of which it is made.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn list_compressed(bencher: Bencher<'_, '_>, semaphores: u32) {
    get_compressed(bencher, semaphores, Histograms::Off, "/semaphores");
}

/// Waits for the end of `task`, and returns the longest time for which this task had to wait.
#[expect(
    clippy::disallowed_methods,
    reason = "the pauses of this thread are measured in real time"
)]
async fn longest_pause(task: &JoinHandle<usize>) -> Duration {
    let mut longest = Duration::ZERO;
    while !task.is_finished() {
        let before = Instant::now();
        yield_now().await;
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

/// The list of all semaphores, to its end.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn list_semaphores(bencher: Bencher<'_, '_>, semaphores: u32) {
    get(bencher, semaphores, Histograms::Off, "/semaphores");
}

/// A page of peers, each of which holds all semaphores. It is read under the mutex nearly all of the time.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn page_of_peers(bencher: Bencher<'_, '_>, locks: u32) {
    let (runtime, handle, _) = server(locks, Histograms::Off);
    bencher.counter(ItemsCount::new(locks)).bench_local(|| {
        let page = runtime.block_on(handle.peers(None, 128)).unwrap();
        assert!(!black_box(page).entries.is_empty());
    });
}

/// A reload that adds this number of semaphores. It needs the mutex for a small part of the time.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn add_by_reload(bencher: Bencher<'_, '_>, semaphores: u32) {
    let runtime = runtime();
    let _context = runtime.enter();
    let more = configured(semaphores);
    let empty = || Handle::start(Settings::default(), &BTreeMap::new());
    bencher.with_inputs(empty).counter(ItemsCount::new(semaphores)).bench_local_refs(|handle| {
        let changes = runtime.block_on(handle.reconfigure(Settings::default(), &more));
        assert_eq!(changes.expect("nothing is in use").added.len(), more.len());
    });
}

fn get_compressed(
    bencher: Bencher<'_, '_>,
    semaphores: u32,
    histograms: Histograms,
    path: &'static str,
) {
    let (runtime, _handle, routes) = server(semaphores, histograms);
    let mut pauses = Vec::new();
    bencher.counter(ItemsCount::new(semaphores)).bench_local(|| {
        let request = Request::get(path).header("accept-encoding", "gzip");
        let request = request.body(Body::empty()).expect("a proper request");
        let routes = routes.clone();
        let (length, pause) = runtime.block_on(async {
            let answer = tokio::spawn(async {
                let Ok(answer) = routes.oneshot(request).await;
                assert_eq!(answer.headers()["content-encoding"], "gzip");
                answer.into_body().collect().await.expect("the body has an end").to_bytes().len()
            });
            let pause = longest_pause(&answer).await;
            (answer.await.expect("the handler does not panic"), pause)
        });
        assert!(length > semaphores as usize);
        pauses.push(pause);
    });
    pauses.sort_unstable();
    report(pauses.get(pauses.len() / 2));
}

fn get(bencher: Bencher<'_, '_>, semaphores: u32, histograms: Histograms, path: &str) {
    let (runtime, _handle, routes) = server(semaphores, histograms);
    bencher.counter(ItemsCount::new(semaphores)).bench_local(|| {
        let request = Request::get(path).body(Body::empty()).expect("a proper request");
        let body = runtime.block_on(async {
            let Ok(answer) = routes.clone().oneshot(request).await;
            answer.into_body().collect().await.expect("the body has an end").to_bytes()
        });
        assert!(body.len() > semaphores as usize * 100);
    });
}

/// A server with ten peers, each of which holds all semaphores for the second time.
fn server(semaphores: u32, histograms: Histograms) -> (Runtime, Handle, Router) {
    let runtime = runtime();
    let recorder = PrometheusBuilder::new().build_recorder();
    let render = recorder.handle();
    let metrics = Metrics::new(Arc::new(recorder), Arc::new(move || render.render()));
    let (metrics, semaphores) = (metrics.histograms(histograms), configured(semaphores));
    let handle = runtime.block_on(async {
        let settings = Settings::default();
        let handle = Handle::start_observed(settings, &semaphores, metrics.observer());
        for id in (1..=10).chain(1..=10) {
            let peer = PeerId::new(id).expect("not zero");
            handle.remove_peer(peer, None).await.expect("removing an absent peer is no error");
            let locks = semaphores.keys().map(|name| (name.clone(), Count::ONE)).collect();
            let expires_in = Duration::from_secs(86_400);
            let (labels, sequence) = (Labels::default(), None);
            let restoration = Restoration { peer, expires_in, locks, labels, sequence };
            handle.restore(restoration).await.expect("the peer is new");
        }
        handle
    });
    (runtime, handle.clone(), Api::new(handle).metrics(metrics).routes())
}

fn configured(semaphores: u32) -> BTreeMap<String, SemaphoreConfig> {
    let config = SemaphoreConfig { max: Count::MAX, level: Level(0) };
    (0..semaphores).map(|number| (format!("semaphore-{number:06}"), config)).collect()
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without I/O always starts")
}

/// All sizes for a measurement, the smallest one for a test.
fn sizes() -> &'static [u32] {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let all = &[1_000, 10_000];
    if measuring { all } else { &all[..1] }
}
