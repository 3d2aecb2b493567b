//! Suspended grants, and how they resume.

use std::time::Duration;

use throttle_core::{
    Admission, Count, Event, Level, PeerId, Restoration, SemaphoreId, Settings, Throttle, Time,
};

const LEASE: Duration = Duration::from_secs(30);

#[test]
fn nothing_is_granted_while_grants_are_suspended_and_then_the_queue_is_served_in_its_order() {
    let (mut throttle, a) = crowd(3);
    throttle.suspend_grants(Time::ZERO);
    assert!(throttle.are_grants_suspended());
    let b = throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0));
    for peer in [2, 1] {
        assert!(!acquire(&mut throttle, peer, a), "the semaphore is free, but nothing is granted");
    }
    assert!(!acquire(&mut throttle, 3, b), "it was added meanwhile");
    let locks = [(a, Count::ONE)].into();
    let (labels, sequence) = (Default::default(), None);
    let restoration = Restoration { peer: id(9), expires_in: LEASE, locks, labels, sequence };
    throttle.restore(Time::ZERO, restoration).unwrap();
    assert_eq!(granted(&mut throttle), [9], "a restored lock is already in use");
    throttle.release(Time::ZERO, id(9), a, None).unwrap();
    throttle.validate();
    assert_eq!(granted(&mut throttle), []);
    throttle.resume_grants(Time::ZERO);
    assert!(!throttle.are_grants_suspended());
    throttle.validate();
    assert_eq!(granted(&mut throttle), [2, 3]);
    throttle.release(Time::ZERO, id(2), a, None).unwrap();
    assert_eq!(granted(&mut throttle), [1]);
}

/// S13: a step stops at its budget, and the next step continues.
#[test]
fn grants_resume_in_steps_that_do_not_do_much_more_than_their_budget() {
    let (mut throttle, a) = crowd(1_000);
    throttle.resize(Time::ZERO, a, Count::MAX).unwrap();
    throttle.suspend_grants(Time::ZERO);
    let more: Vec<_> =
        (0..100).map(|_| throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0))).collect();
    throttle.remove_semaphore(Time::ZERO, more[50]).unwrap();
    for peer in 1..=900 {
        assert!(!acquire(&mut throttle, peer, a));
    }
    for (peer, &semaphore) in (901..=1_000).zip(&more[..50]) {
        assert!(!acquire(&mut throttle, peer, semaphore));
    }
    let (mut all, mut steps) = (Vec::new(), 0);
    while throttle.resume_some_grants(Time::ZERO, 100) {
        steps += 1;
        let peers = granted(&mut throttle);
        assert!((1..=100).contains(&peers.len()) || all.len() == 950, "{} grants", peers.len());
        all.extend(peers);
        throttle.validate();
    }
    all.extend(granted(&mut throttle));
    assert_eq!(all, (1..=950).collect::<Vec<_>>());
    assert!((10..=13).contains(&steps), "{steps} steps");
    assert!(!throttle.resume_some_grants(Time::ZERO, 100), "there is nothing left to do");
}

#[test]
fn even_the_smallest_steps_come_to_an_end() {
    let (mut throttle, a) = crowd(3);
    throttle.resize(Time::ZERO, a, Count::new(2).unwrap()).unwrap();
    throttle.suspend_grants(Time::ZERO);
    (1..=3).for_each(|peer| assert!(!acquire(&mut throttle, peer, a)));
    let steps = (0..10).take_while(|_| throttle.resume_some_grants(Time::ZERO, 0)).count();
    assert!(steps < 10);
    assert_eq!(granted(&mut throttle), [1, 2]);
    throttle.validate();
}

/// A machine with this many peers and a mutex.
fn crowd(peers: u64) -> (Throttle, SemaphoreId) {
    let mut throttle = Throttle::new(Settings::default());
    let a = throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0));
    for peer in 1..=peers {
        throttle.new_peer(Time::ZERO, id(peer), LEASE).unwrap();
    }
    (throttle, a)
}

fn acquire(throttle: &mut Throttle, peer: u64, semaphore: SemaphoreId) -> bool {
    let admission = throttle.acquire(Time::ZERO, id(peer), (semaphore, Count::ONE));
    admission.is_ok_and(Admission::is_granted)
}

/// The peers that were granted a lock since the last call.
fn granted(throttle: &mut Throttle) -> Vec<u64> {
    let events = std::iter::from_fn(|| throttle.poll_event());
    let peers = events.filter_map(|event| match event {
        Event::Granted { peer, .. } => Some(peer.get()),
        _ => None,
    });
    peers.collect()
}

fn id(number: u64) -> PeerId {
    PeerId::new(number).unwrap()
}
