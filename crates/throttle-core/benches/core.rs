//! The time of an operation among many peers: the same among a million as among a thousand (S13).
//!
//! `cargo bench -p throttle-core --bench core` measures; `cargo test -p throttle-core --bench core`
//! runs each case once, at the smallest size. A result is the time for one operation, or one peer, in
//! a steady state. Times grow with the size because of cache misses; the bench `instructions` counts the
//! work without them.

mod crowd;

use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use throttle_core::{Count, Labels, Level, Recovery, Restoration, Settings, Throttle, Time};

use crate::crowd::{Crowd, LEASE, Question};

fn main() {
    divan::main();
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn acquire_and_release(bencher: Bencher<'_, '_>, peers: u64) {
    measure(bencher, &crowd::ACQUIRE_AND_RELEASE, peers);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn heartbeat(bencher: Bencher<'_, '_>, peers: u64) {
    measure(bencher, &crowd::HEARTBEAT, peers);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn hand_over(bencher: Bencher<'_, '_>, waiters: u64) {
    measure(bencher, &crowd::HAND_OVER, waiters);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn new_peer_and_remove_peer(bencher: Bencher<'_, '_>, peers: u64) {
    measure(bencher, &crowd::NEW_PEER_AND_REMOVE_PEER, peers);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 100)]
fn come_and_expire(bencher: Bencher<'_, '_>, peers: u64) {
    measure(bencher, &crowd::COME_AND_EXPIRE, peers);
}

#[divan::bench(args = sizes(), sample_count = 200, sample_size = 100)]
fn come_and_expire_in_a_chain(bencher: Bencher<'_, '_>, peers: u64) {
    measure(bencher, &crowd::COME_AND_EXPIRE_IN_A_CHAIN, peers);
}

/// All peers expire, with a lock each: a nanosecond apart, because real leases never end at the very same
/// instant.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn expire_everybody(bencher: Bencher<'_, '_>, peers: u64) {
    let holding = || {
        let mut crowd = Crowd::of(peers, Count::MAX);
        for number in 0..peers {
            crowd.join_queue();
            let (peer, lease) = (crowd.nth(number), LEASE - Duration::from_nanos(number));
            crowd.throttle.heartbeat(crowd.now, peer, lease).expect("the peer was just created");
        }
        crowd
    };
    bencher.with_inputs(holding).counter(ItemsCount::new(peers)).bench_local_refs(|crowd| {
        assert!(crowd.throttle.expire(crowd.now + LEASE));
        assert_eq!(crowd.throttle.peer_count(), 0);
    });
}

/// Idle peers expire, a nanosecond apart, and so do the waiters of a mutex with leases of zero length: each
/// is granted the lock and expires before the next idle peer does.
#[divan::bench(args = sizes(), sample_count = 5, sample_size = 1)]
fn expire_a_chain_of_waiters_among_idle_peers(bencher: Bencher<'_, '_>, peers: u64) {
    let chain = peers.min(1_000);
    let waiting = || {
        let mut crowd = Crowd::of(peers, Count::ONE);
        for number in 0..peers {
            let (peer, lease) = (crowd.nth(number), LEASE - Duration::from_nanos(number));
            crowd.throttle.heartbeat(crowd.now, peer, lease).expect("the peer was just created");
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

/// A server was suspended while mutexes were held, with three waiters each: every waiter is granted the
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

/// A raised maximum grants the locks of all waiters.
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
        let status = crowd.throttle.semaphore_status(crowd.db).expect("the semaphore exists");
        assert_eq!(status.waiters, 0);
    });
}

/// A lowered maximum cancels the locks of all waiters.
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
        let status = crowd.throttle.semaphore_status(crowd.db).expect("the semaphore exists");
        assert_eq!(status.waiters, 0);
    });
}

/// A semaphore is removed that all peers wait for: all their locks are cancelled, and its holder stays.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn retire_a_semaphore(bencher: Bencher<'_, '_>, waiters: u64) {
    let waiting = || {
        let mut crowd = Crowd::of(1, Count::ONE);
        for _ in 0..=waiters {
            crowd.newcomer_waits(crowd.db, LEASE);
        }
        crowd
    };
    bencher.with_inputs(waiting).counter(ItemsCount::new(waiters)).bench_local_refs(|crowd| {
        assert_eq!(crowd.throttle.remove_semaphore(crowd.now, crowd.db), Ok(false));
        let status = crowd.throttle.semaphore_status(crowd.db).expect("it is held");
        assert_eq!((status.holders, status.waiters), (1, 0));
    });
}

/// Grants of a tenth as many mutexes as peers were suspended while all peers asked for them. They resume in one
/// step.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn resume_grants(bencher: Bencher<'_, '_>, waiters: u64) {
    bencher
        .with_inputs(|| suspended(waiters))
        .counter(ItemsCount::new(waiters))
        .bench_local_refs(|crowd| crowd.throttle.resume_grants(crowd.now));
}

/// The same, but one step of a resumption in parts.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn resume_some_grants(bencher: Bencher<'_, '_>, waiters: u64) {
    bencher.with_inputs(|| suspended(waiters)).bench_local_refs(|crowd| {
        crowd.throttle.resume_some_grants(crowd.now, 1_024);
    });
}

fn suspended(waiters: u64) -> Crowd {
    let mut crowd = Crowd::of(1, Count::ONE);
    crowd.throttle.suspend_grants(crowd.now);
    for _ in 0..waiters / 10 {
        let mutex = crowd.throttle.add_semaphore(crowd.now, Count::ONE, Level(0));
        (0..10).for_each(|_| crowd.newcomer_waits(mutex, LEASE));
    }
    crowd
}

/// A machine is rebuilt from the records of peers, most of which hold one of ten semaphores, and a tenth of
/// which wait for one of them. The records come in the order of the peers' ids, as a store has them. The time
/// is that for a peer.
#[divan::bench(args = sizes(), sample_count = 3, sample_size = 1)]
fn recover(bencher: Bencher<'_, '_>, peers: u64) {
    let records = || {
        let mut crowd = Crowd::of(1, Count::MAX);
        let busy = Count::new((peers / 20).max(1)).expect("not zero");
        let maxima: Vec<_> = (0..10).map(|it| if it < 2 { busy } else { Count::MAX }).collect();
        let add = |throttle: &mut Throttle| {
            let ids = maxima.iter().map(|&max| throttle.add_semaphore(Time::ZERO, max, Level(0)));
            ids.collect::<Vec<_>>()
        };
        let semaphores = add(&mut crowd.throttle);
        for number in 0..peers {
            // Two of the ten are crowded, so that a tenth of the peers wait.
            let semaphore = if number % 5 == 0 { number % 10 / 5 } else { 2 + number % 8 };
            let semaphore = usize::try_from(semaphore).expect("one of ten");
            crowd.newcomer_waits(semaphores[semaphore], LEASE);
        }
        let mut records: Vec<_> = crowd.throttle.records(None).map(|(_, record)| record).collect();
        records.sort_by_key(|record| record.id);
        let mut empty = Throttle::new(Settings::default());
        empty.add_semaphore(Time::ZERO, Count::MAX, Level(0));
        assert_eq!(add(&mut empty), semaphores);
        (records, Recovery::new(empty, Time::ZERO))
    };
    bencher.with_inputs(records).counter(ItemsCount::new(peers)).bench_local_values(
        |(records, mut recovery)| {
            for record in records {
                recovery.peer(record).expect("a live machine is not damaged");
            }
            let throttle = recovery.finish();
            assert_eq!(throttle.peer_count() as u64, peers + 1);
            throttle
        },
    );
}

/// A peer is removed that holds a lock on each of many semaphores.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn remove_a_peer_with_many_locks(bencher: Bencher<'_, '_>, locks: u64) {
    let holding = || {
        let mut crowd = Crowd::of(1, Count::ONE);
        let semaphores =
            (0..locks).map(|_| crowd.throttle.add_semaphore(crowd.now, Count::ONE, Level(0)));
        let (locks, peer) =
            (semaphores.map(|semaphore| (semaphore, Count::ONE)).collect(), crowd.nth(1));
        assert!(crowd.throttle.remove_peer(crowd.now, peer, None));
        let (expires_in, labels, sequence) = (LEASE, Labels::default(), None);
        let restoration = Restoration { peer, expires_in, locks, labels, sequence };
        crowd.throttle.restore(crowd.now, restoration).expect("the peer was removed");
        (crowd, peer)
    };
    bencher.with_inputs(holding).counter(ItemsCount::new(locks)).bench_local_refs(
        |(crowd, peer)| assert!(crowd.throttle.remove_peer(crowd.now, *peer, None)),
    );
}

/// All peers sent a heartbeat since the deadline that comes up now: nothing happens, but each entry is
/// corrected once. No other operation without effects takes as long.
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

/// Measures a question in a crowd of this size.
fn measure(bencher: Bencher<'_, '_>, question: &Question, peers: u64) {
    let mut crowd = (question.prepare)(peers);
    let operations = ItemsCount::new(question.operations);
    bencher.counter(operations).bench_local(|| (question.step)(&mut crowd));
    assert!(crowd.throttle.peer_count() as u64 >= peers, "the peers that stay do not expire");
}

/// All sizes for a measurement, the smallest one for a test.
fn sizes() -> &'static [u64] {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let all = &[1_000, 10_000, 100_000, 1_000_000];
    if measuring { all } else { &all[..1] }
}
