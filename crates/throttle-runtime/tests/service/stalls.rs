//! Tests of stalls (S8): leases do not run while the service is suspended.

use std::time::Duration;

use throttle_runtime::{Admission, Count, Handle, Labels, LockRequest, PeerId, Settings, Stalls};
use tokio::{runtime::Builder, time::sleep};

use crate::support::{configure, hold, join, jump, settle, start, wait};

const SHORT: Duration = Duration::from_secs(3);
/// Longer gaps are stalls.
const LONGEST_GAP: Duration = Duration::from_secs(1);
const STALL: Duration = Duration::from_secs(5);

/// Fifty holders with short leases, each of a semaphore of its own for which a peer waits.
async fn fifty_holders() -> (Handle, Vec<PeerId>) {
    let names: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    let semaphores: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let throttle = start(&semaphores);
    let mut holders = Vec::new();
    for name in &names {
        let holder = hold(&throttle, name, 1).await;
        throttle.heartbeat(holder, SHORT).await.unwrap();
        let rival = join(&throttle).await;
        drop(wait(&throttle, rival, name));
        holders.push(holder);
    }
    settle().await;
    (throttle, holders)
}

#[tokio::test(start_paused = true)]
async fn no_peer_expires_in_a_stall_whether_an_operation_or_the_timer_comes_first() {
    for the_timer_is_first in [false, true] {
        let (throttle, holders) = fifty_holders().await;
        jump(STALL);
        if the_timer_is_first {
            settle().await;
        }
        for holder in holders {
            throttle.heartbeat(holder, SHORT).await.unwrap();
            assert_eq!(throttle.is_acquired(holder).await, Ok(true));
        }
        assert_eq!(throttle.peer_count().await.unwrap(), 100);
        assert_eq!(throttle.stalls(), Stalls { count: 1, total: STALL });
        assert!(throttle.uptime() >= STALL, "it includes stalls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_delays_the_end_of_a_lease_by_its_length() {
    let throttle = start(&[("A", 1)]);
    let holder = hold(&throttle, "A", 1).await;
    throttle.heartbeat(holder, SHORT).await.unwrap();
    jump(STALL);
    // The stall counts as one tick.
    sleep(SHORT - Duration::from_millis(251)).await;
    assert_eq!(throttle.remainder("A").await, Ok(0));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(throttle.remainder("A").await, Ok(1));
}

/// Even if they are unsteady, because no gap is a stall.
#[tokio::test(start_paused = true)]
async fn leases_end_on_time_despite_short_gaps() {
    for gap in [Duration::from_millis(200), LONGEST_GAP] {
        let throttle = start(&[("A", 1)]);
        let holder = hold(&throttle, "A", 1).await;
        throttle.heartbeat(holder, SHORT).await.unwrap();
        for _ in 0..SHORT.as_millis() / gap.as_millis() {
            assert_eq!(throttle.remainder("A").await, Ok(0));
            jump(gap);
        }
        assert_eq!(throttle.remainder("A").await, Ok(1));
        assert_eq!(throttle.stalls(), Stalls::default());
    }
}

/// Even a service that stalls all the time removes dead peers.
#[tokio::test(start_paused = true)]
async fn a_chain_of_stalls_delays_the_end_of_a_lease_but_does_not_prevent_it() {
    let throttle = start(&[("A", 1)]);
    let holder = hold(&throttle, "A", 1).await;
    throttle.heartbeat(holder, SHORT).await.unwrap();
    for _ in 1..12 {
        jump(STALL);
        assert_eq!(throttle.remainder("A").await, Ok(0));
    }
    jump(STALL);
    assert_eq!(throttle.remainder("A").await, Ok(1));
    assert_eq!(throttle.stalls(), Stalls { count: 12, total: 12 * STALL });
}

/// S15: the client whose connection broke could not repeat its request either.
#[tokio::test(start_paused = true)]
async fn a_parked_waiter_keeps_its_place_during_a_stall() {
    let throttle = start(&[("A", 1)]);
    let holder = hold(&throttle, "A", 1).await;
    let waiter = join(&throttle).await;
    let waiting = wait(&throttle, waiter, "A");
    settle().await;
    waiting.abort();
    let second = wait(&throttle, join(&throttle).await, "A");
    settle().await;
    jump(2 * Settings::default().abandoned_after);
    let again = wait(&throttle, waiter, "A");
    settle().await;
    throttle.release(holder, "A", None).await.unwrap();
    assert!(matches!(again.await.unwrap(), Ok(Admission::Granted { .. })));
    assert!(!second.is_finished());
}

/// The timer observes the clock, although there are no operations and no leases.
#[tokio::test(start_paused = true)]
async fn an_idle_service_does_not_stall() {
    let throttle = Handle::start(Settings::default(), &configure(&[("A", 1)]));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(throttle.stalls(), Stalls::default());
    let peer = throttle.new_peer(SHORT, Labels::default()).await.unwrap();
    throttle.acquire(peer, "A", LockRequest::now(Count::ONE)).await.unwrap();
    sleep(SHORT).await;
    assert_eq!(throttle.remainder("A").await, Ok(1));
}

/// Random stalls, sleeps and heartbeats: a lease ends when its length has passed in lease time, as computed
/// by the test, and never earlier by the clock.
#[test]
fn a_lease_lasts_for_its_length_of_lease_time() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (mut expired, mut survived) = (0, 0);
    arbtest::arbtest(|u| {
        runtime.block_on(async {
            let throttle = start(&[("A", 1)]);
            let lease = Duration::from_millis(u.int_in_range(1..=4_000)?);
            let peer = throttle.new_peer(lease, Labels::default()).await.unwrap();
            let mut left = lease;
            for _ in 0..u.int_in_range(0..=20)? {
                // In whole milliseconds, because timers have that resolution.
                let span = Duration::from_millis(u.int_in_range(0..=3_000)?);
                let counted = if u.ratio(1, 2)? {
                    jump(span);
                    if span > LONGEST_GAP { Duration::from_millis(250) } else { span }
                } else {
                    sleep(span).await;
                    span
                };
                left = left.saturating_sub(counted);
                assert_eq!(
                    throttle.is_acquired(peer).await.is_ok(),
                    !left.is_zero(),
                    "{left:?} left"
                );
                if left.is_zero() {
                    expired += 1;
                    return Ok(());
                }
                if u.ratio(1, 4)? {
                    throttle.heartbeat(peer, lease).await.unwrap();
                    left = lease;
                }
            }
            survived += 1;
            Ok(())
        })
    });
    assert!(expired > 10 && survived > 0, "{expired} expired, {survived} survived");
}
