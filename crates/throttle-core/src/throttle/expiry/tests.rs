//! How much work a step does, and what operations between two steps see.

use core::time::Duration;

use super::*;
use crate::{Count, Error, Level, LockRequest, Settings};

const LEASE: Duration = Duration::from_secs(60);

/// S13: a waiter that is granted a lock under a lease of zero length is due before all other peers. The
/// entries of the others must not be moved for it, however many they are.
#[test]
fn a_chain_of_waiters_with_leases_of_zero_length_costs_the_same_among_many_peers() {
    let moves = |idle: u64| {
        let mut throttle = Throttle::new(Settings::default());
        let mutex = throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0));
        for number in 0..idle {
            let lease = LEASE + Duration::from_nanos(number);
            throttle.new_peer(Time::ZERO, id(number), lease).unwrap();
        }
        for number in idle..idle + 100 {
            let lease = if number == idle { LEASE } else { Duration::ZERO };
            throttle.new_peer(Time::ZERO, id(number), LEASE).unwrap();
            let (expires_in, attended) = (Some(lease), true);
            let request = LockRequest { expires_in, attended, ..(mutex, Count::ONE).into() };
            let admission = throttle.acquire(Time::ZERO, id(number), request).unwrap();
            assert_eq!(admission.is_granted(), number == idle);
        }
        let before = throttle.deadlines.moves;
        assert!(throttle.expire(Time::ZERO + 2 * LEASE));
        assert_eq!(throttle.peers.len(), 0);
        throttle.deadlines.moves - before
    };
    let few = moves(1_000) / 1_000;
    let many = moves(16_000) / 16_000;
    assert!(many <= few + 3, "{many} moves per peer among many, {few} among few");
}

/// S13: a step stops at its budget, and the next step continues.
#[test]
fn a_step_does_not_do_much_more_than_its_budget() {
    let mut throttle = Throttle::new(Settings::default());
    let semaphores: Vec<_> = (0..10)
        .map(|level| throttle.add_semaphore(Time::ZERO, Count::MAX, Level(-level)))
        .collect();
    for (number, locks) in (0..1_000).zip((0..10).cycle()) {
        let lease = LEASE + Duration::from_nanos(number);
        throttle.new_peer(Time::ZERO, id(number), lease).unwrap();
        for &semaphore in &semaphores[..locks] {
            throttle.acquire(Time::ZERO, id(number), (semaphore, Count::ONE)).unwrap();
        }
        // The deadlines of half the peers are postponed.
        if number % 2 == 0 {
            throttle.heartbeat(Time::ZERO, id(number), 2 * LEASE).unwrap();
        }
    }
    while throttle.poll_event().is_some() {}
    let (now, mut steps) = (Time::ZERO + LEASE + LEASE / 2, 0);
    loop {
        steps += 1;
        let reached = throttle.catch_up(now, 100);
        let events = core::iter::from_fn(|| throttle.poll_event()).count();
        assert!(events < 110, "{events} in one step");
        throttle.validate();
        if reached == now {
            break;
        }
    }
    let work = 500 + 500 + 500 * 5;
    assert!((work / 110..=work / 90).contains(&steps), "{steps} steps");
    assert_eq!(throttle.peers.len(), 500);
}

/// S8: during a backlog the machine shows an earlier instant, at which no peer has outlived its lease. A
/// peer in the backlog that sends a heartbeat gets a full lease from the present on.
#[test]
fn a_heartbeat_during_a_backlog_renews_the_lease_from_the_present_on() {
    let mut throttle = Throttle::new(Settings::default());
    for number in 0..100 {
        let lease = LEASE + Duration::from_nanos(number);
        throttle.new_peer(Time::ZERO, id(number), lease).unwrap();
    }
    let now = Time::ZERO + 2 * LEASE;
    let reached = throttle.catch_up(now, 10);
    assert!(reached < now);
    assert_eq!(throttle.peers.len(), 90);
    assert_eq!(throttle.heartbeat(reached, id(0), LEASE), Err(Error::UnknownPeer));
    assert_eq!(throttle.heartbeat(reached, id(99), LEASE), Ok(()));
    assert_eq!(throttle.catch_up(now, 1_000), now);
    assert_eq!(throttle.peers.len(), 1);
    assert_eq!(throttle.peer_status(id(99), 0).unwrap().time_left, LEASE);
}

#[test]
fn memory_for_a_peak_of_events_and_deadlines_is_freed() {
    let mut throttle = Throttle::new(Settings::default());
    for number in 0..100_000 {
        throttle.new_peer(Time::ZERO, id(number), LEASE).unwrap();
    }
    throttle.expire(Time::ZERO + LEASE);
    assert!(throttle.events.len() >= 200_000);
    while throttle.poll_event().is_some() {}
    assert!(throttle.events.capacity() <= 1_024);
    throttle.new_peer(Time::ZERO, id(0), LEASE).unwrap();
    assert!(throttle.deadlines.capacity() <= 4_096);
}

fn id(number: u64) -> PeerId {
    PeerId::new(number + 1).unwrap()
}
