//! What an operation costs among many peers: the same among a million as among a thousand (S13).
//!
//! `cargo bench -p throttle-core --bench core` measures; `cargo test -p throttle-core --bench core`
//! runs each question once, at its smallest size. Each answer is for one operation, or one peer, in
//! a machine that stays as it is from one measurement to the next. What grows with the size is the
//! price of its caches; the bench `instructions` tells how much of it is work.

mod crowd;

use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use throttle_core::Count;

use crate::crowd::{Crowd, LEASE, Question};

fn main() {
    divan::main();
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn acquire_and_release(bencher: Bencher<'_, '_>, peers: u64) {
    ask(bencher, &crowd::ACQUIRE_AND_RELEASE, peers);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn heartbeat(bencher: Bencher<'_, '_>, peers: u64) {
    ask(bencher, &crowd::HEARTBEAT, peers);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn hand_over(bencher: Bencher<'_, '_>, waiters: u64) {
    ask(bencher, &crowd::HAND_OVER, waiters);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn new_peer_and_remove_peer(bencher: Bencher<'_, '_>, peers: u64) {
    ask(bencher, &crowd::NEW_PEER_AND_REMOVE_PEER, peers);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 100)]
fn come_and_expire(bencher: Bencher<'_, '_>, peers: u64) {
    ask(bencher, &crowd::COME_AND_EXPIRE, peers);
}

/// Everybody is due when time passes, with a lock each; a nanosecond apart, as leases never end in the
/// very same one.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn expire_everybody(bencher: Bencher<'_, '_>, peers: u64) {
    let holding = || {
        let mut crowd = Crowd::of(peers, Count::MAX);
        for number in 0..peers {
            crowd.join_queue();
            let (peer, lease) = (crowd.nth(number), LEASE - Duration::from_nanos(number));
            crowd.throttle.heartbeat(crowd.now, peer, lease).expect("it has just come");
        }
        crowd
    };
    bencher.with_inputs(holding).counter(ItemsCount::new(peers)).bench_local_refs(|crowd| {
        assert!(crowd.throttle.expire(crowd.now + LEASE));
        assert_eq!(crowd.throttle.peer_count(), 0);
    });
}

/// Everybody showed a sign of life since the deadline that comes up now: nothing happens, but each
/// entry has to be looked at once. The longest that one operation can take without any effect.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn find_everybody_postponed(bencher: Bencher<'_, '_>, peers: u64) {
    let postponed = || {
        let mut crowd = Crowd::of(peers, Count::MAX);
        crowd.now = crowd.now + LEASE / 2;
        for _ in 0..peers {
            crowd.beat(Duration::ZERO);
        }
        crowd
    };
    bencher.with_inputs(postponed).counter(ItemsCount::new(peers)).bench_local_refs(|crowd| {
        assert!(!crowd.throttle.expire(crowd.now + LEASE / 2));
        assert_eq!(crowd.throttle.peer_count() as u64, peers);
    });
}

/// Asks a question again and again, in a crowd of this size.
fn ask(bencher: Bencher<'_, '_>, question: &Question, peers: u64) {
    let mut crowd = (question.prepare)(peers);
    let operations = ItemsCount::new(question.operations);
    bencher.counter(operations).bench_local(|| (question.step)(&mut crowd));
    assert!(crowd.throttle.peer_count() as u64 >= peers, "whoever stays is alive");
}

/// All sizes for a measurement, the smallest one for a test.
fn sizes() -> &'static [u64] {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let all = &[1_000, 10_000, 100_000, 1_000_000];
    if measuring { all } else { &all[..1] }
}
