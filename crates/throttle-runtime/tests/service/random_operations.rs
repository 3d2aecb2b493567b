//! Tests with random operations: requests wait, and their waits end in every possible way.

use std::time::Duration;

use arbtest::arbitrary::{Result, Unstructured};
use throttle_runtime::{Admission, Error, Handle, Labels, LockRequest, PeerId, Settings};
use tokio::{runtime::Builder, task::JoinHandle, time::sleep};

use crate::support::{BLOCK_FOR, configure, count, jump, settle, start};

/// S8, S13, S15, S16: a grant, a cancellation, a dropped request, a removal, the end of `block_for` or of the
/// service, also while very many peers expire.
#[test]
fn open_waits_are_counted_whatever_ends_them() {
    let (mut long, mut short) = (0, 0);
    for seed in 1..=RUNS {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> u32::BITS;
        arbtest::arbtest(|u| {
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
            let waited = runtime.expect("a runtime starts").block_on(run(u))?;
            (long, short) = (long + waited.0, short + waited.1);
            Ok(())
        })
        .seed(random << u32::BITS | 2_048)
        .run();
    }
    assert!(long > RUNS && short > RUNS / 2, "{long} long waits were seen, {short} short ones");
}

const RUNS: u64 = 10;

type Request = JoinHandle<std::result::Result<Admission, Error>>;

/// Returns how many long and how many short waits were seen.
async fn run(u: &mut Unstructured<'_>) -> Result<(u64, u64)> {
    let mut waited = (0, 0);
    let throttle = start(&[("A", 2), ("B", 1)]);
    // Their leases end one after the other, more of them than one operation removes.
    for number in 0..600 {
        let lease = Duration::from_secs(2) + Duration::from_nanos(number);
        throttle.new_peer(lease, Labels::default()).await.expect("there is room");
    }
    let mut peers = Vec::new();
    let mut requests = Vec::new();
    while !u.is_empty() {
        act(u, &throttle, &mut peers, &mut requests).await?;
        if u.ratio(3, 4)? {
            settle().await;
            let open = requests.iter().filter(|request| !request.is_finished()).count();
            let counted = throttle.open_waits();
            assert_eq!(counted.open, open);
            assert!(counted.short <= open);
            waited.0 += (open - counted.short) as u64;
            waited.1 += counted.short as u64;
        }
        assert_eq!(throttle.failure(), None);
    }
    throttle.drain();
    assert_eq!(throttle.open_waits().open, 0);
    settle().await;
    assert!(requests.iter().all(JoinHandle::is_finished), "no request waits any longer");
    assert_eq!(throttle.failure(), None);
    Ok(waited)
}

async fn act(
    u: &mut Unstructured<'_>,
    throttle: &Handle,
    peers: &mut Vec<PeerId>,
    requests: &mut Vec<Request>,
) -> Result<()> {
    let span = Duration::from_millis(u.int_in_range(0..=500)?);
    let semaphore = *u.choose(&["A", "A", "B"])?;
    let peer = if peers.is_empty() { None } else { Some(*u.choose(peers)?) };
    match (u.int_in_range(0..=15)?, peer) {
        (0..=2, _) | (_, None) => {
            let lease = Duration::from_secs(u.int_in_range(0..=5)?);
            peers.push(throttle.new_peer(lease, Labels::default()).await.expect("there is room"));
        }
        (3..=7, Some(peer)) => {
            let expires_in = u.ratio(1, 2)?.then(|| Duration::from_secs(span.as_secs() % 2));
            let block_for = Some(if u.ratio(1, 2)? { BLOCK_FOR } else { span });
            let count = count(u.int_in_range(1..=2)?);
            let (handle, request) = (
                throttle.clone(),
                LockRequest { expires_in, block_for, ..LockRequest::now(count) },
            );
            requests
                .push(tokio::spawn(async move { handle.acquire(peer, semaphore, request).await }));
        }
        (8, Some(_)) => {
            let open: Vec<_> = requests.iter().filter(|request| !request.is_finished()).collect();
            if !open.is_empty() {
                u.choose(&open)?.abort();
            }
        }
        (9, Some(peer)) => drop(throttle.release(peer, semaphore, None).await),
        (10, Some(peer)) => drop(throttle.remove_peer(peer, None).await),
        (11, Some(_)) => jump(span),
        (12, Some(_)) => drop(throttle.end_short_wait()),
        (13, Some(_)) => throttle.limit_open_waits(u.int_in_range(0..=3)?),
        (14, Some(_)) => {
            let semaphores = configure(&[("A", u.int_in_range(1..=3)?), ("B", 1)]);
            throttle
                .reconfigure(Settings::default(), &semaphores)
                .await
                .expect("no semaphore is removed");
        }
        (_, Some(_)) => sleep(span).await,
    }
    Ok(())
}
