//! Recovery from records: what comes back, and which records are refused.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use throttle_core::{
    Admission, CancelCause, Count, Damage, Event, FencingToken, HeldRecord, Labels, Level, PeerId,
    PeerRecord, PendingRecord, Recovery, SemaphoreId, Sequence, Settings, Throttle, Ticket, Time,
};

const START: Time = Time::from_nanos(1 << 60);
const LEASE: Duration = Duration::from_secs(30);

/// D7
#[test]
fn waiters_are_served_in_the_order_of_their_tickets_and_tokens_and_tickets_go_on() {
    let (mut recovery, [a, b]) = recovery([1, 1]);
    recovery.semaphore(b, token(80)).unwrap();
    recovery.peer(PeerRecord { held: vec![held(a, 1, 40)], ..peer(1) }).unwrap();
    for (id, ticket) in [(2, 9), (3, 7), (4, 8)] {
        recovery.peer(PeerRecord { pending: pending(a, 1, ticket), ..peer(id) }).unwrap();
    }
    let mut throttle = recovery.finish();
    throttle.validate();
    assert_eq!(throttle.poll_event(), None, "what is recovered has no events");
    let queue = throttle.waiters(a, None).unwrap().map(|waiter| waiter.peer.get());
    assert_eq!(queue.collect::<Vec<_>>(), [3, 4, 2]);
    let repeated = throttle.acquire(START, id(1), (a, Count::ONE)).unwrap();
    assert_eq!(repeated, Admission::Granted { count: Count::ONE, token: token(40) });
    throttle.new_peer(START, id(5), LEASE).unwrap();
    let queued = throttle.acquire(START, id(5), (a, Count::ONE)).unwrap();
    assert_eq!(queued, Admission::Queued { count: Count::ONE, ticket: Ticket::new(10) });
    throttle.release(START, id(1), a, None).unwrap();
    assert_eq!(throttle.holder(a, token(40)).unwrap(), None);
    let next = throttle.holder(a, token(41)).unwrap().expect("the lock passes on");
    assert_eq!(next.peer, id(3), "the lowest ticket is next");
    throttle.remove_peer(START, id(5), None);
    throttle.new_peer(START, id(5), LEASE).unwrap();
    let granted = throttle.acquire(START, id(5), (b, Count::ONE)).unwrap();
    assert_eq!(granted, Admission::Granted { count: Count::ONE, token: token(81) });
}

/// D6
#[test]
fn every_peer_has_its_full_lease_and_ages_go_on() {
    let (mut recovery, [a]) = recovery([1]);
    let since = Time::from_nanos(START.as_nanos() - 5_000_000_000);
    let lock = HeldRecord { since, ..held(a, 1, 1) };
    recovery.peer(PeerRecord { held: vec![lock], ..peer(1) }).unwrap();
    let future = Time::from_nanos(START.as_nanos() + 1);
    let lock = PendingRecord { since: future, ..pending(a, 1, 1).unwrap() };
    recovery.peer(PeerRecord { pending: Some(lock), ..peer(2) }).unwrap();
    let mut throttle = recovery.finish();
    let status = throttle.peer_status(id(1), 0).unwrap();
    assert_eq!((status.time_left, status.held[0].held_for), (LEASE, Duration::from_secs(5)));
    let status = throttle.peer_status(id(2), 0).unwrap();
    assert_eq!(status.pending.unwrap().waiting_for, Duration::ZERO, "the clock was set back");
    assert_eq!(throttle.poll_timeout(), Some(START + LEASE));
    assert!(throttle.expire(START + LEASE));
    assert_eq!(throttle.peer_count(), 0);
    throttle.validate();
}

/// D9
#[test]
fn a_recovery_grants_what_fits_and_cancels_what_the_maximum_no_longer_allows() {
    let (mut recovery, [a, b]) = recovery([3, 2]);
    recovery.peer(PeerRecord { held: vec![held(a, 1, 7), held(b, 5, 7)], ..peer(1) }).unwrap();
    for (id, of, count, ticket) in [(2, a, 2, 2), (3, a, 4, 1), (4, a, 1, 3), (5, b, 1, 4)] {
        recovery.peer(PeerRecord { pending: pending(of, count, ticket), ..peer(id) }).unwrap();
    }
    let mut throttle = recovery.finish();
    throttle.validate();
    let cause = CancelCause::NeverAcquirable { count: count(4), max: count(3) };
    let (peer, waited) = (id(3), Duration::ZERO);
    let events = std::iter::from_fn(|| throttle.poll_event()).collect::<Vec<_>>();
    let cancelled = Event::Cancelled { peer, semaphore: a, count: count(4), waited, cause };
    let (peer, waited) = (id(2), Some(Duration::ZERO));
    let granted = Event::Granted { peer, semaphore: a, count: count(2), token: token(8), waited };
    assert_eq!(events, [cancelled, granted]);
    assert_eq!(throttle.semaphore_status(b).unwrap().remainder(), -3, "nothing is revoked");
}

#[test]
fn the_numbers_of_absent_peers_are_refused_as_before_and_their_end_is_reported() {
    let (mut recovery, [a]) = recovery([1]);
    recovery.absent(id(7), sequence(9), ago(60));
    recovery.absent(id(7), sequence(5), ago(30));
    recovery.absent(id(8), sequence(9), ago(600));
    recovery.peer(PeerRecord { sequence: sequence(3), ..peer(1) }).unwrap();
    let mut throttle = recovery.finish();
    throttle.report_forgotten(true);
    assert_eq!(throttle.absent_peer(id(7)), Some((sequence(9), ago(30))));
    let all: Vec<_> = throttle.absent_peers().collect();
    assert_eq!(all, [(id(7), sequence(9), ago(30)), (id(8), sequence(9), ago(600))]);
    let refused = |throttle: &mut Throttle, peer, number| {
        throttle.release(START, id(peer), a, Some(sequence(number))).unwrap_err().code()
    };
    assert_eq!(refused(&mut throttle, 7, 8), "stale_request");
    assert_eq!(refused(&mut throttle, 7, 9), "unknown_peer");
    assert_eq!(refused(&mut throttle, 1, 2), "stale_request");
    assert_eq!(throttle.poll_forgotten(), None);
    throttle.heartbeat(START, id(1), LEASE).unwrap();
    throttle.catch_up(START + Duration::from_secs(1), 100);
    assert_eq!(throttle.poll_forgotten(), Some(id(8)));
    assert_eq!((throttle.poll_forgotten(), throttle.absent_peer(id(8))), (None, None));
}

/// D5: nothing is repaired silently, and what is refused changes nothing.
#[test]
fn each_kind_of_damage_has_a_name_and_changes_nothing() {
    let (mut recovery, [a, b]) = recovery([1, 1]);
    let first = PeerRecord { held: vec![held(a, 1, 40)], ..peer(1) };
    recovery.peer(first.clone()).unwrap();
    recovery.peer(PeerRecord { pending: pending(a, 1, 7), ..peer(2) }).unwrap();
    let before = format!("{recovery:?}");
    let holding = |locks: Vec<_>| PeerRecord { held: locks, ..peer(3) };
    let waiting = |of, ticket| PeerRecord { pending: pending(of, 1, ticket), ..peer(3) };
    let unknown = Throttle::new(Settings::default()).next_semaphore_ids().nth(2).unwrap();
    let (max, last) = (Count::MAX.get(), FencingToken::MAX.get());
    let damaged = [
        (first, "peer 1 is recorded twice"),
        (holding(vec![held(unknown, 1, 1)]), "unknown semaphore: SemaphoreId(2)"),
        (waiting(unknown, 1), "unknown semaphore: SemaphoreId(2)"),
        (
            holding(vec![held(b, 1, 1), held(a, 1, 1), held(b, 1, 2)]),
            "peer 3 holds semaphore SemaphoreId(1) twice",
        ),
        (
            holding(vec![held(b, 1, 9), held(a, 1, 40)]),
            "peer 3 has the token of another holder of semaphore SemaphoreId(0): 40",
        ),
        (
            holding(vec![held(a, max, 41)]),
            "the lock of peer 3 raises the sum held of semaphore SemaphoreId(0) above 9007199254740991",
        ),
        (
            holding(vec![held(a, 1, last)]),
            "the last token of semaphore SemaphoreId(0) is too large: 9007199254740991",
        ),
        (
            PeerRecord { pending: pending(b, 1, 1), ..holding(vec![held(b, 1, 1)]) },
            "peer 3 waits for semaphore SemaphoreId(1), which it holds",
        ),
        (waiting(a, 7), "peer 3 has the ticket of another waiter of semaphore SemaphoreId(0): 7"),
        (waiting(b, u64::MAX), "the ticket of peer 3 is too large: 18446744073709551615"),
    ];
    for (record, message) in damaged {
        assert_eq!(recovery.peer(record).unwrap_err().to_string(), message);
        assert_eq!(format!("{recovery:?}"), before, "{message}");
    }
    let damage = recovery.semaphore(unknown, token(1)).unwrap_err();
    assert_eq!(damage, Damage::UnknownSemaphore { semaphore: unknown });
    let named = damage.map_semaphore(|_| "db");
    assert_eq!(named.to_string(), r#"unknown semaphore: "db""#);
    assert!(matches!(recovery.semaphore(a, FencingToken::MAX), Err(Damage::TokenTooLarge { .. })));
    let too_large = Err(Damage::TokenFloorTooLarge { token: FencingToken::MAX });
    assert_eq!(recovery.token_floor(FencingToken::MAX), too_large);
    assert_eq!(format!("{recovery:?}"), before);
    recovery.finish().validate();
}

#[test]
fn a_recovered_peer_may_exceed_every_limit() {
    let settings = Settings { max_peers: 1, max_label_bytes: 0, max_waiters: 0, ..LIMITS };
    let mut throttle = Throttle::new(settings);
    let a = throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0));
    let mut recovery = Recovery::new(throttle, START);
    recovery.peer(PeerRecord { held: vec![held(a, 1, 1)], ..peer(1) }).unwrap();
    for (number, ticket) in [(2, 2), (3, 1)] {
        let labels = Labels::from_iter([("host".to_owned(), "one".to_owned())]);
        let pending = pending(a, 1, ticket);
        recovery.peer(PeerRecord { labels, pending, ..peer(number) }).unwrap();
    }
    let throttle = recovery.finish();
    throttle.validate();
    assert_eq!(throttle.peer_count(), 3);
    assert_eq!(throttle.semaphore_status(a).unwrap().waiters, 2);
}

/// D5
#[test]
fn arbitrary_records_never_panic_and_what_is_accepted_is_valid() {
    let (mut accepted, mut refused, mut granted) = (0, 0, 0);
    arbtest::arbtest(|u| {
        let (mut recovery, semaphores) = recovery([1, 3, Count::MAX.get()]);
        while !u.is_empty() {
            let record = arbitrary_record(u, &semaphores)?;
            match recovery.peer(record) {
                Ok(()) => accepted += 1,
                Err(damage) => {
                    assert!(!damage.to_string().is_empty());
                    refused += 1;
                }
            }
            if u.ratio(1, 4)? {
                let (peer, number) = (arbitrary_peer(u)?, arbitrary_number(u)?);
                let number = Sequence::new(number).unwrap_or(Sequence::MAX);
                recovery.absent(peer, number, Time::from_nanos(u.arbitrary()?));
            }
            if u.ratio(1, 8)? {
                let token = arbitrary_number(u)?;
                let token = FencingToken::new(token).unwrap_or(FencingToken::MAX);
                let _ = recovery.semaphore(*u.choose(&semaphores)?, token);
            }
        }
        let mut throttle = recovery.finish();
        throttle.validate();
        granted += std::iter::from_fn(|| throttle.poll_event()).count();
        throttle.expire(START + LEASE);
        throttle.validate();
        Ok(())
    })
    .budget_ms(300);
    assert!(accepted > 100 && refused > 100 && granted > 10, "{accepted} {refused} {granted}");
}

fn arbitrary_record(u: &mut Unstructured<'_>, semaphores: &[SemaphoreId]) -> Result<PeerRecord> {
    let unknown = Throttle::new(Settings::default()).next_semaphore_ids().nth(9).unwrap();
    let semaphore = |u: &mut Unstructured<'_>| match u.ratio(1, 16)? {
        true => Ok(unknown),
        false => u.choose(semaphores).copied(),
    };
    let mut record = peer(1);
    record.id = arbitrary_peer(u)?;
    record.expires_in = Duration::from_nanos(u.arbitrary()?);
    record.sequence = Sequence::new(arbitrary_number(u)?).unwrap_or(Sequence::MAX);
    for _ in 0..u.int_in_range(0..=3)? {
        let token = FencingToken::new(arbitrary_number(u)?).unwrap_or(FencingToken::MAX);
        let (semaphore, count) = (semaphore(u)?, arbitrary_count(u)?);
        let since = Time::from_nanos(u.arbitrary()?);
        record.held.push(HeldRecord { semaphore, count, token, since });
    }
    if u.arbitrary()? {
        let (semaphore, count) = (semaphore(u)?, arbitrary_count(u)?);
        let ticket = Ticket::new(arbitrary_number(u)?);
        let since = Time::from_nanos(u.arbitrary()?);
        record.pending = Some(PendingRecord { semaphore, count, ticket, since });
    }
    Ok(record)
}

fn arbitrary_peer(u: &mut Unstructured<'_>) -> Result<PeerId> {
    Ok(id(u.int_in_range(1..=64)?))
}

fn arbitrary_count(u: &mut Unstructured<'_>) -> Result<Count> {
    Ok(Count::new(arbitrary_number(u)?).unwrap_or(Count::ONE))
}

/// Mostly small, so that numbers coincide.
fn arbitrary_number(u: &mut Unstructured<'_>) -> Result<u64> {
    if u.ratio(1, 16)? { u.arbitrary() } else { u.int_in_range(0..=40) }
}

/// A recovery into a machine with semaphores with these maxima.
fn recovery<const N: usize>(maxima: [u64; N]) -> (Recovery, [SemaphoreId; N]) {
    let mut throttle = Throttle::new(Settings::default());
    let ids = maxima.map(|max| throttle.add_semaphore(Time::ZERO, count(max), Level(0)));
    (Recovery::new(throttle, START), ids)
}

fn peer(number: u64) -> PeerRecord {
    PeerRecord {
        id: id(number),
        expires_in: LEASE,
        labels: Labels::default(),
        sequence: Sequence::default(),
        held: Vec::new(),
        pending: None,
    }
}

fn held(semaphore: SemaphoreId, of: u64, number: u64) -> HeldRecord {
    HeldRecord { semaphore, count: count(of), token: token(number), since: START }
}

fn pending(semaphore: SemaphoreId, of: u64, ticket: u64) -> Option<PendingRecord> {
    let (count, ticket) = (count(of), Ticket::new(ticket));
    Some(PendingRecord { semaphore, count, ticket, since: START })
}

fn ago(seconds: u64) -> Time {
    Time::from_nanos(START.as_nanos() - seconds * 1_000_000_000)
}

fn id(number: u64) -> PeerId {
    PeerId::new(number).unwrap()
}

fn count(number: u64) -> Count {
    Count::new(number).unwrap()
}

fn token(number: u64) -> FencingToken {
    FencingToken::new(number).unwrap()
}

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

const LIMITS: Settings = Settings {
    abandoned_after: LEASE,
    max_label_bytes: u64::MAX,
    max_peers: u32::MAX,
    max_waiters: u32::MAX,
};
