//! What an operation costs among many peers: the same among a million as among a thousand (S13).
//!
//! `cargo bench -p throttle-core --bench core` measures; `cargo test -p throttle-core --bench core`
//! runs each question once, at its smallest size. Each answer is for one operation, or one peer, in
//! a machine that stays as it is from one measurement to the next. What grows with the size is the
//! price of its caches; the bench `instructions` tells how much of it is work.

mod crowd;

use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use throttle_core::{Count, Level, Restoration};

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

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 100)]
fn come_and_expire_in_a_chain(bencher: Bencher<'_, '_>, peers: u64) {
    ask(bencher, &crowd::COME_AND_EXPIRE_IN_A_CHAIN, peers);
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

/// Idle peers are due, a nanosecond apart, and a mutex among them whose waiters have leases of no time:
/// each is granted the lock and expires before the next idle peer does.
#[divan::bench(args = sizes(), sample_count = 5, sample_size = 1)]
fn expire_a_chain_of_waiters_among_idle_peers(bencher: Bencher<'_, '_>, peers: u64) {
    let chain = peers.min(1_000);
    let waiting = || {
        let mut crowd = Crowd::of(peers, Count::ONE);
        for number in 0..peers {
            let (peer, lease) = (crowd.nth(number), LEASE - Duration::from_nanos(number));
            crowd.throttle.heartbeat(crowd.now, peer, lease).expect("it has just come");
        }
        crowd.newcomer_waits(crowd.db, LEASE - Duration::from_nanos(peers));
        for _ in 0..chain {
            crowd.newcomer_waits(crowd.db, Duration::ZERO);
        }
        crowd
    };
    bencher.with_inputs(waiting).counter(ItemsCount::new(peers)).bench_local_refs(|crowd| {
        assert!(crowd.throttle.expire(crowd.now + 2 * LEASE));
        assert_eq!(crowd.throttle.peer_count(), 0);
    });
}

/// A server was stopped while mutexes were held, and three waited for each: everybody is granted the
/// lock in turn, and expires.
#[divan::bench(args = sizes(), sample_count = 5, sample_size = 1)]
fn expire_queues_one_after_the_other(bencher: Bencher<'_, '_>, peers: u64) {
    let waiting = || {
        let mut crowd = Crowd::of(1, Count::MAX);
        for number in 0..peers / 4 {
            let mutex = crowd.throttle.add_semaphore(crowd.now, Count::ONE, Level(0));
            for _ in 0..4 {
                crowd.newcomer_waits(mutex, LEASE - Duration::from_nanos(number));
            }
        }
        crowd
    };
    bencher.with_inputs(waiting).counter(ItemsCount::new(peers)).bench_local_refs(|crowd| {
        assert!(crowd.throttle.expire(crowd.now + 4 * LEASE));
        assert_eq!(crowd.throttle.peer_count(), 0);
    });
}

/// A raised maximum lets everybody in who waits.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn raise_a_maximum(bencher: Bencher<'_, '_>, waiters: u64) {
    let waiting = || {
        let mut crowd = Crowd::of(1, Count::ONE);
        for _ in 0..=waiters {
            crowd.newcomer_waits(crowd.db, LEASE);
        }
        crowd
    };
    bencher.with_inputs(waiting).counter(ItemsCount::new(waiters)).bench_local_refs(|crowd| {
        assert_eq!(crowd.throttle.resize(crowd.now, crowd.db, Count::MAX), Ok(()));
        let status = crowd.throttle.semaphore_status(crowd.db).expect("it is there");
        assert_eq!(status.waiters, 0);
    });
}

/// A lowered maximum can never be enough for those who wait.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn lower_a_maximum(bencher: Bencher<'_, '_>, waiters: u64) {
    let two = Count::new(2).expect("not zero");
    let waiting = || {
        let mut crowd = Crowd::of(1, two);
        for _ in 0..=waiters {
            crowd.newcomer_waits_for(crowd.db, two, LEASE);
        }
        crowd
    };
    bencher.with_inputs(waiting).counter(ItemsCount::new(waiters)).bench_local_refs(|crowd| {
        assert_eq!(crowd.throttle.resize(crowd.now, crowd.db, Count::ONE), Ok(()));
        let status = crowd.throttle.semaphore_status(crowd.db).expect("it is there");
        assert_eq!(status.waiters, 0);
    });
}

/// Somebody leaves who holds a lock on each of so many semaphores.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn remove_a_peer_with_many_locks(bencher: Bencher<'_, '_>, locks: u64) {
    let holding = || {
        let mut crowd = Crowd::of(1, Count::ONE);
        let semaphores =
            (0..locks).map(|_| crowd.throttle.add_semaphore(crowd.now, Count::ONE, Level(0)));
        let (locks, peer) = (semaphores.map(|it| (it, Count::ONE)).collect(), crowd.nth(1));
        assert!(crowd.throttle.remove_peer(crowd.now, peer, None));
        let (expires_in, labels, sequence) = (LEASE, None, None);
        let restoration = Restoration { peer, expires_in, locks, labels, sequence };
        crowd.throttle.restore(crowd.now, restoration).expect("it is not there");
        (crowd, peer)
    };
    bencher.with_inputs(holding).counter(ItemsCount::new(locks)).bench_local_refs(
        |(crowd, peer)| assert!(crowd.throttle.remove_peer(crowd.now, *peer, None)),
    );
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
