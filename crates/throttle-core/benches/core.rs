//! What an operation costs among many peers: the same among a million as among a thousand (S13).
//!
//! `cargo bench -p throttle-core --bench core` measures; `cargo test -p throttle-core --bench core`
//! runs each question once, at its smallest size. Each answer is for one operation, or one peer, in
//! a machine that stays as it is from one measurement to the next. Peers take their turns in an order
//! that jumps through memory, as strangers do; what grows with the size is the price of its caches.

use std::time::Duration;

use divan::{Bencher, black_box, counter::ItemsCount};
use throttle_core::{
    Admission, Count, Event, Level, PeerId, Release, SemaphoreId, Settings, Throttle, Time,
};

fn main() {
    divan::main();
}

/// A lock on a semaphore that has room for everybody: taken, and given back.
#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn acquire_and_release(bencher: Bencher<'_, '_>, peers: u64) {
    let mut crowd = Crowd::of(peers, Count::MAX);
    bencher.counter(ItemsCount::new(2_u32)).bench_local(|| {
        let (peer, db) = (crowd.next(), crowd.db);
        let taken = crowd.throttle.acquire(crowd.now, peer, (db, Count::ONE));
        assert!(taken.is_ok_and(Admission::is_granted));
        let given_back = crowd.throttle.release(crowd.now, peer, db);
        assert_eq!(given_back, Ok(Release::Released));
        assert_eq!(crowd.drain(), 2);
    });
}

/// A sign of life, three for each lease; what a postponed deadline costs later is included.
#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn heartbeat(bencher: Bencher<'_, '_>, peers: u64) {
    let mut crowd = Crowd::of(peers, Count::MAX);
    let among = u32::try_from(peers).expect("at most a million");
    // Deadlines come up one by one, not all in the same second.
    for (number, peer) in (0..among).zip((0..peers).map(id)) {
        let lease = LEASE / 3 + LEASE / 2 * number / among;
        crowd.throttle.heartbeat(crowd.now, peer, lease).expect("it has just come");
    }
    let pause = LEASE / 3 / among;
    for _ in 0..4 * peers {
        crowd.beat(pause);
    }
    bencher.bench_local(|| crowd.beat(pause));
    assert_eq!(crowd.throttle.peer_count() as u64, peers, "everybody stays alive");
}

/// A mutex changes hands in front of a queue, and who had it joins the end.
#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn hand_over(bencher: Bencher<'_, '_>, waiters: u64) {
    let mut crowd = Crowd::of(waiters + 1, Count::ONE);
    for _ in 0..=waiters {
        crowd.join_queue();
    }
    bencher.bench_local(|| {
        let (holder, db) = (crowd.next(), crowd.db);
        assert_eq!(crowd.throttle.release(crowd.now, holder, db), Ok(Release::Released));
        assert!(matches!(crowd.throttle.poll_event(), Some(Event::Released { .. })));
        let next = crowd.nth(crowd.turn);
        let granted = crowd.throttle.poll_event();
        assert!(matches!(granted, Some(Event::Granted { peer, .. }) if peer == next));
        let again = crowd.throttle.acquire(crowd.now, holder, (db, Count::ONE));
        assert!(again.is_ok_and(|admission| !admission.is_granted()));
        assert_eq!(crowd.drain(), 1);
    });
}

/// A peer comes and goes beside those who stay.
#[divan::bench(args = sizes(), sample_count = 200, sample_size = 2_000)]
fn new_peer_and_remove_peer(bencher: Bencher<'_, '_>, peers: u64) {
    let mut crowd = Crowd::of(peers, Count::MAX);
    let mut newcomer = peers;
    bencher.counter(ItemsCount::new(2_u32)).bench_local(|| {
        newcomer += 1;
        let peer = id(newcomer);
        assert_eq!(crowd.throttle.new_peer(crowd.now, peer, LEASE, None), Ok(()));
        assert!(crowd.throttle.remove_peer(crowd.now, peer));
        assert_eq!(crowd.drain(), 2);
    });
}

/// Everybody expires at the same instant, with a lock each.
#[divan::bench(args = sizes(), sample_count = 10, sample_size = 1)]
fn expire_everybody(bencher: Bencher<'_, '_>, peers: u64) {
    let holding = || {
        let mut crowd = Crowd::of(peers, Count::MAX);
        for _ in 0..peers {
            crowd.join_queue();
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

/// A machine with one semaphore, and peers that take turns.
struct Crowd {
    throttle: Throttle,
    now: Time,
    db: SemaphoreId,
    peers: u64,
    turn: u64,
}

impl Crowd {
    fn of(peers: u64, max: Count) -> Self {
        let mut throttle = Throttle::new(Settings::default());
        let db = throttle.add_semaphore(Time::ZERO, max, Level(0));
        for peer in 0..peers {
            throttle.new_peer(Time::ZERO, id(peer), LEASE, None).expect("it is new");
        }
        let mut crowd = Self { throttle, now: Time::ZERO, db, peers, turn: 0 };
        crowd.drain();
        crowd
    }

    /// Whose turn it is.
    fn next(&mut self) -> PeerId {
        self.turn += 1;
        self.nth(self.turn - 1)
    }

    /// Strides are no multiple of what a cache fetches, and prime, so that everybody has their turn.
    fn nth(&self, turn: u64) -> PeerId {
        id(turn * 7_919 % self.peers)
    }

    /// The next peer takes the lock, or waits for it.
    fn join_queue(&mut self) {
        let peer = self.next();
        self.throttle.acquire(self.now, peer, (self.db, Count::ONE)).expect("it is acquirable");
        self.drain();
    }

    fn beat(&mut self, pause: Duration) {
        let peer = self.next();
        self.now = self.now + pause;
        assert_eq!(self.throttle.heartbeat(self.now, peer, LEASE), Ok(()));
    }

    /// Takes note of all events, and tells how many there were.
    fn drain(&mut self) -> usize {
        std::iter::from_fn(|| black_box(self.throttle.poll_event())).count()
    }
}

fn id(number: u64) -> PeerId {
    PeerId::new(number + 1).expect("not zero")
}

/// All sizes for a measurement, the smallest one for a test.
fn sizes() -> &'static [u64] {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let all = &[1_000, 10_000, 100_000, 1_000_000];
    if measuring { all } else { &all[..1] }
}

const LEASE: Duration = Duration::from_secs(60);
