//! How much a step does, and what who comes between two steps finds.

use core::time::Duration;

use super::*;
use crate::{Count, Error, Level, LockRequest, Settings};

const LEASE: Duration = Duration::from_secs(60);

/// S13: a waiter that is granted the lock with a lease of no time is due before everybody else who
/// is. This must not have the others looked at or moved, however many they are.
#[test]
fn a_chain_of_waiters_with_leases_of_no_time_costs_the_same_among_many_peers() {
    let moves = |idle: u64| {
        let mut throttle = Throttle::new(Settings::default());
        let mutex = throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0));
        for number in 0..idle {
            let lease = LEASE + Duration::from_nanos(number);
            throttle.new_peer(Time::ZERO, id(number), lease, None).unwrap();
        }
        for number in idle..idle + 100 {
            let lease = if number == idle { LEASE } else { Duration::ZERO };
            throttle.new_peer(Time::ZERO, id(number), LEASE, None).unwrap();
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
    assert!(many <= few + 3, "{many} moves for each of many peers, {few} for each of few");
}

/// S13: what is left to do is done in the next steps, each of which does about as much as it may.
#[test]
fn a_step_does_not_do_much_more_than_its_budget() {
    let mut throttle = Throttle::new(Settings::default());
    let semaphores: Vec<_> = (0..10)
        .map(|level| throttle.add_semaphore(Time::ZERO, Count::MAX, Level(-level)))
        .collect();
    for (number, locks) in (0..1_000).zip((0..10).cycle()) {
        let lease = LEASE + Duration::from_nanos(number);
        throttle.new_peer(Time::ZERO, id(number), lease, None).unwrap();
        for &semaphore in &semaphores[..locks] {
            throttle.acquire(Time::ZERO, id(number), (semaphore, Count::ONE)).unwrap();
        }
        // Half of them are found to be postponed.
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

/// S8: whoever looks meanwhile finds a machine that has reached an earlier instant, at which nobody
/// has outlived their lease; and who shows a sign of life then gets all of a lease.
#[test]
fn a_sign_of_life_that_comes_before_the_turn_of_its_peer_keeps_it_alive_from_the_present_on() {
    let mut throttle = Throttle::new(Settings::default());
    for number in 0..100 {
        let lease = LEASE + Duration::from_nanos(number);
        throttle.new_peer(Time::ZERO, id(number), lease, None).unwrap();
    }
    let now = Time::ZERO + 2 * LEASE;
    let reached = throttle.catch_up(now, 10);
    assert!(reached < now);
    assert_eq!(throttle.peers.len(), 90);
    assert_eq!(throttle.heartbeat(reached, id(0), LEASE), Err(Error::UnknownPeer));
    assert_eq!(throttle.heartbeat(reached, id(99), LEASE), Ok(()));
    assert_eq!(throttle.catch_up(now, 1_000), now);
    assert_eq!(throttle.peers.len(), 1);
    assert_eq!(throttle.peer_status(id(99)).unwrap().time_left, LEASE);
}

#[test]
fn the_room_for_a_peak_of_events_and_deadlines_is_given_back() {
    let mut throttle = Throttle::new(Settings::default());
    for number in 0..100_000 {
        throttle.new_peer(Time::ZERO, id(number), LEASE, None).unwrap();
    }
    throttle.expire(Time::ZERO + LEASE);
    assert!(throttle.events.len() >= 200_000);
    while throttle.poll_event().is_some() {}
    assert!(throttle.events.capacity() <= 1_024);
    throttle.new_peer(Time::ZERO, id(0), LEASE, None).unwrap();
    assert!(throttle.deadlines.capacity() <= 4_096);
}

fn id(number: u64) -> PeerId {
    PeerId::new(number + 1).unwrap()
}
