//! The memory of a peer, a lock and a waiter: `cargo bench -p throttle-core --bench memory`.
//!
//! Each line builds a machine with a million of them. The bytes in the column `max alloc`, divided by a
//! million, are the memory of one, including the spare capacity of tables that double.

use std::time::Duration;

use divan::{AllocProfiler, Bencher};
use throttle_core::{Count, Level, PeerId, Settings, Throttle, Time};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = number(), sample_count = 1, sample_size = 1)]
fn idle_peers(bencher: Bencher<'_, '_>, number: u64) {
    bencher.bench_local(|| machine(number, Count::MAX, 0));
}

#[divan::bench(args = number(), sample_count = 1, sample_size = 1)]
fn peers_that_hold_a_lock(bencher: Bencher<'_, '_>, number: u64) {
    bencher.bench_local(|| machine(number, Count::MAX, 1));
}

#[divan::bench(args = number(), sample_count = 1, sample_size = 1)]
fn peers_that_hold_two_locks(bencher: Bencher<'_, '_>, number: u64) {
    bencher.bench_local(|| machine(number, Count::MAX, 2));
}

#[divan::bench(args = number(), sample_count = 1, sample_size = 1)]
fn peers_that_wait(bencher: Bencher<'_, '_>, number: u64) {
    bencher.bench_local(|| machine(number, Count::ONE, 1));
}

/// A machine with this many peers, each of which asks for this many locks.
fn machine(peers: u64, max: Count, locks: i32) -> Throttle {
    let mut throttle = Throttle::new(Settings::default());
    let levels = (0..locks).rev().map(Level);
    let semaphores: Vec<_> =
        levels.map(|level| throttle.add_semaphore(Time::ZERO, max, level)).collect();
    let lease = Duration::from_secs(60);
    for number in 1..=peers {
        let peer = PeerId::new(number).expect("not zero");
        throttle.new_peer(Time::ZERO, peer, lease).expect("the id is new");
        for &semaphore in &semaphores {
            let admission = throttle.acquire(Time::ZERO, peer, (semaphore, Count::ONE));
            let first = number == 1 || max > Count::ONE;
            assert!(admission.is_ok_and(|admission| admission.is_granted() == first));
        }
        while throttle.poll_event().is_some() {}
    }
    throttle
}

/// A million for a measurement, few for a test.
fn number() -> [u64; 1] {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    [if measuring { 1_000_000 } else { 1_000 }]
}
