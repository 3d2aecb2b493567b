//! The text of `/metrics`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::http::Method;
use expect_test::expect;
use throttle_http::Histograms;
use throttle_runtime::Settings;
use tokio::time::sleep;

use crate::support::{Server, request, semaphores};

/// Scrapes, and returns the lines of these metrics.
async fn scrape(server: &Server, metrics: &[&str]) -> String {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let named = |line: &&str| {
        let name =
            line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
        metrics.iter().any(|metric| name.starts_with(metric))
    };
    answer.body.lines().filter(named).map(|line| format!("{line}\n")).collect()
}

const OLD: &[&str] = &[
    "throttle_acquired",
    "throttle_longest_pending_sec",
    "throttle_max",
    "throttle_num_404",
    "throttle_pending",
];

#[tokio::test(start_paused = true)]
async fn every_semaphore_has_its_gauges_from_the_start() {
    let server = Server::with_metrics(&[("B", 2, 0), ("A", 5, 0)]);
    expect![[r#"
        # HELP throttle_acquired Sum of all acquired locks.
        # TYPE throttle_acquired gauge
        throttle_acquired{semaphore="A"} 0
        throttle_acquired{semaphore="B"} 0
        # HELP throttle_longest_pending_sec Time the longest pending peer is waiting until now, to acquire a lock to a semaphore.
        # TYPE throttle_longest_pending_sec gauge
        throttle_longest_pending_sec{semaphore="A"} 0
        throttle_longest_pending_sec{semaphore="B"} 0
        # HELP throttle_max Maximum allowed lock count for this semaphore.
        # TYPE throttle_max gauge
        throttle_max{semaphore="A"} 5
        throttle_max{semaphore="B"} 2
        # HELP throttle_num_404 Number of Get requests to unknown resource.
        # TYPE throttle_num_404 counter
        throttle_num_404 0
        # HELP throttle_pending Sum of all pending locks
        # TYPE throttle_pending gauge
        throttle_pending{semaphore="A"} 0
        throttle_pending{semaphore="B"} 0
    "#]]
    .assert_eq(&scrape(&server, OLD).await);
}

#[tokio::test(start_paused = true)]
async fn gauges_show_the_state_at_the_time_of_the_scrape() {
    let server = Server::with_metrics(&[("A", 5, 0)]);
    server.hold("A", 4).await;
    let waiter = server.join().await;
    server.put(&format!("/peers/{waiter}/A"), "3").await;
    sleep(Duration::from_millis(12_500)).await;
    server.get("/nowhere").await;
    server.post("/nowhere", "{}").await;
    let gauges: Vec<_> = OLD.iter().copied().chain(["throttle_peers"]).collect();
    let text = scrape(&server, &gauges).await;
    let samples = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
    expect![[r#"
        throttle_acquired{semaphore="A"} 4
        throttle_longest_pending_sec{semaphore="A"} 12.5
        throttle_max{semaphore="A"} 5
        throttle_num_404 2
        throttle_peers 2
        throttle_pending{semaphore="A"} 3"#]]
    .assert_eq(&samples.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn grants_waits_cancellations_and_expiries_are_counted() {
    let server = Server::with_metrics(&[("A", 1, 0)]);
    // A lock is held for five seconds, then passes to a peer that has waited for four.
    let holder = server.hold("A", 1).await;
    sleep(Duration::from_secs(1)).await;
    let waiter = server.join().await;
    server.put(&format!("/peers/{waiter}/A"), "1").await;
    sleep(Duration::from_secs(4)).await;
    server.delete(&format!("/peers/{holder}/A")).await;
    // One peer cancels its pending lock, another is removed. All but the latter expire in the end.
    for path in ["/A", ""] {
        let gone = server.join().await;
        server.put(&format!("/peers/{gone}/A"), "1").await;
        server.delete(&format!("/peers/{gone}{path}")).await;
    }
    server.post("/restore", r#"{"expires_in":"1h","peer_id":5,"acquired":{"A":1}}"#).await;
    sleep(Duration::from_secs(120)).await;

    let metrics = [
        "throttle_cancelled_total",
        "throttle_expired_peers_total",
        "throttle_grants_total",
        "throttle_hold_seconds",
        "throttle_restored_peers_total",
        "throttle_wait_seconds",
    ];
    expect![[r##"
        # HELP throttle_cancelled_total Pending locks that were given up, by cause.
        # TYPE throttle_cancelled_total counter
        throttle_cancelled_total{semaphore="A",cause="abandoned"} 0
        throttle_cancelled_total{semaphore="A",cause="never_acquirable"} 0
        throttle_cancelled_total{semaphore="A",cause="peer_gone"} 1
        throttle_cancelled_total{semaphore="A",cause="semaphore_retired"} 0
        throttle_cancelled_total{semaphore="A",cause="withdrawn"} 1
        # HELP throttle_expired_peers_total Peers whose lease ended without a sign of life.
        # TYPE throttle_expired_peers_total counter
        throttle_expired_peers_total 3
        # HELP throttle_grants_total Locks that were granted, at once or after waiting.
        # TYPE throttle_grants_total counter
        throttle_grants_total{semaphore="A"} 2
        # HELP throttle_hold_seconds Time that locks were held.
        # TYPE throttle_hold_seconds histogram
        throttle_hold_seconds_bucket{semaphore="A",le="0.1"} 0
        throttle_hold_seconds_bucket{semaphore="A",le="1"} 0
        throttle_hold_seconds_bucket{semaphore="A",le="15"} 1
        throttle_hold_seconds_bucket{semaphore="A",le="300"} 2
        throttle_hold_seconds_bucket{semaphore="A",le="3600"} 2
        throttle_hold_seconds_bucket{semaphore="A",le="+Inf"} 2
        throttle_hold_seconds_sum{semaphore="A"} 61
        throttle_hold_seconds_count{semaphore="A"} 2
        # HELP throttle_restored_peers_total Peers that came back with the locks they hold.
        # TYPE throttle_restored_peers_total counter
        throttle_restored_peers_total 1
        # HELP throttle_wait_seconds Time that locks were pending before they became held; zero if at once.
        # TYPE throttle_wait_seconds histogram
        throttle_wait_seconds_bucket{semaphore="A",le="0.1"} 1
        throttle_wait_seconds_bucket{semaphore="A",le="1"} 1
        throttle_wait_seconds_bucket{semaphore="A",le="15"} 2
        throttle_wait_seconds_bucket{semaphore="A",le="300"} 2
        throttle_wait_seconds_bucket{semaphore="A",le="3600"} 2
        throttle_wait_seconds_bucket{semaphore="A",le="+Inf"} 2
        throttle_wait_seconds_sum{semaphore="A"} 4
        throttle_wait_seconds_count{semaphore="A"} 2
    "##]]
    .assert_eq(&scrape(&server, &metrics).await);
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_route_and_never_by_path() {
    let server = Server::with_metrics(&[("A", 1, 0)]);
    let peer = server.hold("A", 1).await;
    server.put(&format!("/peer/{peer}/A"), "1").await;
    server.put(&format!("/peer/{peer}/secret"), "1").await;
    server.get(&format!("/peer/{peer}/A")).await;
    server.get("/peer").await;
    server.get("/peers/").await;
    server.get("/secret").await;
    server.send(request(Method::from_bytes(b"BREW").unwrap(), "/health", "")).await;
    server.send(request(Method::HEAD, "/health", "")).await;
    expect![[r#"
        # HELP throttle_http_requests_total Requests answered, by route, method and status.
        # TYPE throttle_http_requests_total counter
        throttle_http_requests_total{route="/health",method="HEAD",status="200"} 1
        throttle_http_requests_total{route="/health",method="other",status="405"} 1
        throttle_http_requests_total{route="/new_peer",method="POST",status="200"} 1
        throttle_http_requests_total{route="/peers",method="GET",status="200"} 2
        throttle_http_requests_total{route="/peers/{id}/{semaphore}",method="GET",status="405"} 1
        throttle_http_requests_total{route="/peers/{id}/{semaphore}",method="PUT",status="200"} 2
        throttle_http_requests_total{route="/peers/{id}/{semaphore}",method="PUT",status="400"} 1
        throttle_http_requests_total{route="unknown",method="GET",status="404"} 1
    "#]]
    .assert_eq(&scrape(&server, &["throttle_http_requests_total"]).await);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_code_in_either_form_and_are_present_at_zero() {
    let server = Server::with_metrics(&[]);
    server.get("/peers/5").await;
    let mut request = request(Method::GET, "/peers/5", "");
    request.headers_mut().insert("accept", "application/problem+json".parse().unwrap());
    server.send(request).await;
    let text = scrape(&server, &["throttle_refusals_total"]).await;
    assert!(text.contains("throttle_refusals_total{code=\"unknown_peer\"} 2\n"), "{text}");
    for code in throttle_wire::Code::ALL {
        let times = if code.as_str() == "unknown_peer" { 2 } else { 0 };
        assert!(text.contains(&format!("{{code=\"{code}\"}} {times}\n")), "{code}");
    }
    assert!(!text.contains("\"unknown\""), "no server sends this code");
}

#[tokio::test(start_paused = true)]
async fn every_name_of_a_semaphore_is_written_unambiguously() {
    let names = ["\"", "\\", "\\\\", "\\\"", "a\nb", "a\\nb", "\\", "{}", "ä", "a\",semaphore=\"b"];
    let semaphores: Vec<_> = names.iter().map(|&name| (name, 1, 0)).collect();
    let server = Server::with_metrics(&semaphores);
    let text = scrape(&server, &["throttle_max{"]).await;
    let mut expected: Vec<_> = names
        .iter()
        .map(|name| {
            let name = name.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            format!("throttle_max{{semaphore=\"{name}\"}} 1")
        })
        .collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_removed_semaphore_leaves_no_series_behind_and_a_new_one_has_all_of_them() {
    let server = Server::with_metrics(&[("old", 1, 0), ("stays", 1, 0)]);
    let holder = server.hold("old", 1).await;
    server.delete(&format!("/peers/{holder}")).await;
    let before = server.get("/metrics").await.body;
    assert!(before.contains("\"old\""));

    let configured = semaphores(&[("new", 1, 0), ("stays", 1, 0)]);
    server.handle.reconfigure(Settings::default(), &configured).await.unwrap();
    let after = server.get("/metrics").await.body;
    assert!(!after.contains("\"old\""), "{after}");
    let about = |text: &str, name: &str| text.matches(&format!("{{semaphore=\"{name}\"")).count();
    assert_eq!(about(&after, "new"), about(&after, "stays"));
    assert_eq!(about(&after, "stays"), about(&before, "stays"));
}

#[tokio::test(start_paused = true)]
async fn histograms_can_be_off_and_then_nothing_else_is_missing() {
    let text = |histograms| async move {
        let server = Server::with_histograms(&[("A", 1, 0)], histograms);
        server.hold("A", 1).await;
        server.get("/metrics").await.body
    };
    let (on, off) = (text(Histograms::Full).await, text(Histograms::Off).await);
    let is_histogram = |line: &&str| {
        line.contains("throttle_wait_seconds") || line.contains("throttle_hold_seconds")
    };
    assert_eq!(on.lines().filter(is_histogram).count(), 2 * (2 + 17));
    let others: Vec<_> = on.lines().filter(|line| !is_histogram(line)).collect();
    assert_eq!(off.lines().collect::<Vec<_>>(), others);
}

#[tokio::test(start_paused = true)]
async fn two_scrapes_of_the_same_state_have_the_same_text() {
    let names: Vec<String> = (0..50).map(|i| format!("semaphore {i}")).collect();
    let semaphores: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 0)).collect();
    let (one, two) = (Server::with_metrics(&semaphores), Server::with_metrics(&semaphores));
    assert_eq!(one.get("/metrics").await.body, two.get("/metrics").await.body);
}

#[tokio::test(start_paused = true)]
async fn two_servers_in_a_process_share_no_metrics() {
    let (one, two) = (Server::with_metrics(&[("A", 1, 0)]), Server::with_metrics(&[("A", 1, 0)]));
    one.hold("A", 1).await;
    one.get("/nowhere").await;
    let text = scrape(&two, &["throttle_num_404", "throttle_acquired{", "throttle_grants_total{"]);
    expect![[r#"
        throttle_acquired{semaphore="A"} 0
        throttle_grants_total{semaphore="A"} 0
        # HELP throttle_num_404 Number of Get requests to unknown resource.
        # TYPE throttle_num_404 counter
        throttle_num_404 0
    "#]]
    .assert_eq(&text.await);
}

#[tokio::test(start_paused = true)]
async fn holders_waiters_and_the_longest_hold_are_gauges() {
    let server = Server::with_metrics(&[("A", 2, 0), ("B", 1, 0)]);
    let first = server.hold("A", 1).await;
    sleep(Duration::from_secs(5)).await;
    server.hold("A", 1).await;
    sleep(Duration::from_millis(1_500)).await;
    for _ in 0..3 {
        let waiter = server.join().await;
        server.put(&format!("/peers/{waiter}/A"), "2").await;
    }
    let metrics = ["throttle_holders{", "throttle_longest_held_seconds{", "throttle_waiters{"];
    expect![[r#"
        throttle_holders{semaphore="A"} 2
        throttle_holders{semaphore="B"} 0
        throttle_longest_held_seconds{semaphore="A"} 6.5
        throttle_longest_held_seconds{semaphore="B"} 0
        throttle_waiters{semaphore="A"} 3
        throttle_waiters{semaphore="B"} 0
    "#]]
    .assert_eq(&scrape(&server, &metrics).await);
    server.delete(&format!("/peers/{first}")).await;
    let text = scrape(&server, &["throttle_longest_held_seconds{semaphore=\"A\"}"]).await;
    assert_eq!(text, "throttle_longest_held_seconds{semaphore=\"A\"} 1.5\n");
}

#[tokio::test(start_paused = true)]
async fn peers_that_expire_with_locks_are_counted_apart() {
    let server = Server::with_metrics(&[("A", 1, 0), ("B", 1, 0)]);
    server.join().await;
    server.hold("A", 1).await;
    let waiter = server.join().await;
    server.put(&format!("/peers/{waiter}/A"), "1").await;
    // This peer releases its lock before it expires.
    let gone = server.hold("B", 1).await;
    server.delete(&format!("/peers/{gone}/B")).await;
    sleep(Duration::from_secs(60)).await;
    let text = scrape(&server, &["throttle_expired_"]).await;
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, ["throttle_expired_holders_total 1", "throttle_expired_peers_total 4"]);
}

#[tokio::test(start_paused = true)]
async fn durations_of_requests_are_counted_by_group() {
    let server = Server::with_metrics(&[("A", 1, 0)]);
    let holder = server.hold("A", 1).await;
    let waiter = server.join().await;
    let waiting = server.wait(waiter, "A?block_for=1m").await;
    sleep(Duration::from_secs(5)).await;
    server.delete(&format!("/peers/{holder}/A")).await;
    assert_eq!(waiting.await.unwrap().status, 200);
    server.get("/semaphores/A/fencing/7").await;
    let name = "throttle_http_request_duration_seconds";
    let text = scrape(&server, &[name]).await;
    let sample = |sample: &str| text.contains(&format!("{name}{sample}\n"));
    assert!(sample(r#"_bucket{group="wait",le="1"} 0"#), "{text}");
    assert!(sample(r#"_bucket{group="wait",le="10"} 1"#), "{text}");
    assert!(sample(r#"_sum{group="wait"} 5"#), "{text}");
    assert!(sample(r#"_bucket{group="acquire",le="0.0001"} 1"#), "{text}");
    for (group, count) in
        [("release", 1), ("fencing", 1), ("peer", 2), ("heartbeat", 0), ("operate", 0)]
    {
        assert!(sample(&format!("_count{{group=\"{group}\"}} {count}")), "{group} in {text}");
    }
    assert_eq!(text.matches("# TYPE").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn gauges_and_counters_of_the_application_are_read_at_each_scrape() {
    let value = Arc::new(AtomicU64::new(1));
    let server = Server::build_with_metrics(&[], |metrics| {
        let read = Arc::clone(&value);
        metrics.gauge_at_scrape("throttle_others", &[], "Others.", move || {
            read.load(Ordering::Relaxed) as f64 / 2.0
        });
        for outcome in ["good", "bad"] {
            let (read, labels) = (Arc::clone(&value), [("outcome", outcome)]);
            let read = move || read.load(Ordering::Relaxed) as f64 / 4.0;
            metrics.counter_at_scrape("throttle_other_things_total", &labels, "Things.", read);
        }
        metrics
    });
    let others = &["throttle_other"];
    expect![[r#"
        # HELP throttle_other_things_total Things.
        # TYPE throttle_other_things_total counter
        throttle_other_things_total{outcome="bad"} 0.25
        throttle_other_things_total{outcome="good"} 0.25
        # HELP throttle_others Others.
        # TYPE throttle_others gauge
        throttle_others 0.5
    "#]]
    .assert_eq(&scrape(&server, others).await);
    value.store(7, Ordering::Relaxed);
    let text = scrape(&server, others).await;
    assert!(text.contains("throttle_others 3.5\n"), "{text}");
    assert!(text.contains("throttle_other_things_total{outcome=\"bad\"} 1.75\n"), "{text}");
    // A counter never falls.
    value.store(2, Ordering::Relaxed);
    let text = scrape(&server, others).await;
    assert!(text.contains("throttle_others 1\n"), "{text}");
    assert!(text.contains("throttle_other_things_total{outcome=\"bad\"} 1.75\n"), "{text}");
}
