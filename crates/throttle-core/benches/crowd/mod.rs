//! A machine full of peers, and questions about what an operation costs in it.
//!
//! A [`Question`] is asked in a steady state: each step leaves the machine as large as it found it.
//! So it may be asked by a clock, which is the bench `core`, as well as by a program that counts
//! instructions, which is the bench `instructions`. Peers take their turns in an order that jumps
//! through memory, as strangers do, and their ids are drawn from far apart, as the runtime does.

use std::{hint::black_box, time::Duration};

use throttle_core::{
    Admission, Count, Event, Level, LockRequest, PeerId, Release, SemaphoreId, Settings, Throttle,
    Time,
};

/// What does this cost among so many peers?
pub(crate) struct Question {
    /// How many operations, or peers that are concerned, make a step.
    pub(crate) operations: u32,
    pub(crate) prepare: fn(u64) -> Crowd,
    pub(crate) step: fn(&mut Crowd),
}

/// A lock on a semaphore that has room for everybody: taken, and given back.
pub(crate) const ACQUIRE_AND_RELEASE: Question = Question {
    operations: 2,
    prepare: |peers| Crowd::of(peers, Count::MAX),
    step: |crowd| {
        let (peer, db) = (crowd.next(), crowd.db);
        let taken = crowd.throttle.acquire(crowd.now, peer, (db, Count::ONE));
        assert!(taken.is_ok_and(Admission::is_granted));
        let given_back = crowd.throttle.release(crowd.now, peer, db, None);
        assert_eq!(given_back, Ok(Release::Released));
        assert_eq!(crowd.drain(), 2);
    },
};

/// A sign of life, three for each lease; what a postponed deadline costs later is included.
pub(crate) const HEARTBEAT: Question = Question {
    operations: 1,
    prepare: |peers| {
        let mut crowd = Crowd::of(peers, Count::MAX);
        let among = u32::try_from(peers).expect("at most a million");
        // Deadlines come up one by one, not all in the same second.
        for (number, peer) in (0..among).zip((0..peers).map(id)) {
            let lease = LEASE / 3 + LEASE / 2 * number / among;
            crowd.throttle.heartbeat(crowd.now, peer, lease).expect("it has just come");
        }
        for _ in 0..4 * peers {
            crowd.beat(crowd.pause);
        }
        crowd
    },
    step: |crowd| crowd.beat(crowd.pause),
};

/// A mutex changes hands in front of a queue, and who had it joins the end.
pub(crate) const HAND_OVER: Question = Question {
    operations: 1,
    prepare: |waiters| {
        let mut crowd = Crowd::of(waiters + 1, Count::ONE);
        for _ in 0..=waiters {
            crowd.join_queue();
        }
        crowd
    },
    step: |crowd| {
        let (holder, db) = (crowd.next(), crowd.db);
        assert_eq!(crowd.throttle.release(crowd.now, holder, db, None), Ok(Release::Released));
        assert!(matches!(crowd.throttle.poll_event(), Some(Event::Released { .. })));
        let next = crowd.nth(crowd.turn);
        let granted = crowd.throttle.poll_event();
        assert!(matches!(granted, Some(Event::Granted { peer, .. }) if peer == next));
        let again = crowd.throttle.acquire(crowd.now, holder, (db, Count::ONE));
        assert!(again.is_ok_and(|admission| !admission.is_granted()));
        assert_eq!(crowd.drain(), 1);
    },
};

/// A peer comes and goes beside those who stay.
pub(crate) const NEW_PEER_AND_REMOVE_PEER: Question = Question {
    operations: 2,
    prepare: |peers| Crowd::of(peers, Count::MAX),
    step: |crowd| {
        let peer = crowd.newcomer(LEASE);
        assert!(crowd.throttle.remove_peer(crowd.now, peer, None));
        assert_eq!(crowd.drain(), 2);
    },
};

/// A few peers come, take a lock, and expire together beside those who stay.
pub(crate) const COME_AND_EXPIRE: Question = Question {
    operations: 16,
    prepare: |peers| Crowd::of(peers, Count::MAX),
    step: |crowd| {
        let lease = Duration::from_nanos(1);
        for _ in 0..16 {
            let (peer, db) = (crowd.newcomer(lease), crowd.db);
            let taken = crowd.throttle.acquire(crowd.now, peer, (db, Count::ONE));
            assert!(taken.is_ok_and(Admission::is_granted));
        }
        crowd.now = crowd.now + lease;
        assert!(crowd.throttle.expire(crowd.now));
        assert_eq!(crowd.drain(), 16 * 4);
    },
};

/// A few peers come and wait for a mutex under leases of no time, beside those who stay: each is granted
/// the lock when the one before it expires, and expires a nanosecond later.
pub(crate) const COME_AND_EXPIRE_IN_A_CHAIN: Question = Question {
    operations: 16,
    prepare: |peers| Crowd::of(peers, Count::ONE),
    step: |crowd| {
        for number in 1..=16 {
            let lease = Duration::from_nanos(if number == 1 { 100 } else { 0 });
            crowd.newcomer_waits(crowd.db, lease);
        }
        crowd.now = crowd.now + Duration::from_nanos(200);
        assert!(crowd.throttle.expire(crowd.now));
        assert_eq!(crowd.drain(), 16 * 3 - 1);
    },
};

/// A machine with one semaphore, and peers that take turns.
pub(crate) struct Crowd {
    pub(crate) throttle: Throttle,
    pub(crate) now: Time,
    pub(crate) db: SemaphoreId,
    peers: u64,
    turn: u64,
    newcomers: u64,
    /// Between two heartbeats, if each peer sends three for each lease.
    pause: Duration,
}

impl Crowd {
    pub(crate) fn of(peers: u64, max: Count) -> Self {
        let mut throttle = Throttle::new(Settings::default());
        let db = throttle.add_semaphore(Time::ZERO, max, Level(0));
        for peer in 0..peers {
            throttle.new_peer(Time::ZERO, id(peer), LEASE, None).expect("it is new");
        }
        let pause = LEASE / 3 / u32::try_from(peers).expect("at most a million");
        let now = Time::ZERO;
        let mut crowd = Self { throttle, now, db, peers, turn: 0, newcomers: 0, pause };
        crowd.drain();
        crowd
    }

    /// Whose turn it is.
    fn next(&mut self) -> PeerId {
        self.turn += 1;
        self.nth(self.turn - 1)
    }

    /// Strides are no multiple of what a cache fetches, and prime, so that everybody has their turn.
    pub(crate) fn nth(&self, turn: u64) -> PeerId {
        id(turn * 7_919 % self.peers)
    }

    /// Somebody who was never here before.
    fn newcomer(&mut self, lease: Duration) -> PeerId {
        self.newcomers += 1;
        let peer = id(self.peers + self.newcomers);
        assert_eq!(self.throttle.new_peer(self.now, peer, lease, None), Ok(()));
        peer
    }

    /// The next peer takes the lock, or waits for it.
    pub(crate) fn join_queue(&mut self) {
        let peer = self.next();
        self.throttle.acquire(self.now, peer, (self.db, Count::ONE)).expect("it is acquirable");
        self.drain();
    }

    /// Somebody new takes the lock of a semaphore, or waits for it with an open request, under a lease
    /// of this length.
    pub(crate) fn newcomer_waits(&mut self, semaphore: SemaphoreId, lease: Duration) {
        self.newcomer_waits_for(semaphore, Count::ONE, lease);
    }

    /// The same for a lock with this count.
    pub(crate) fn newcomer_waits_for(
        &mut self,
        semaphore: SemaphoreId,
        count: Count,
        lease: Duration,
    ) {
        let peer = self.newcomer(LEASE);
        let (expires_in, attended) = (Some(lease), true);
        let request = LockRequest { expires_in, attended, ..(semaphore, count).into() };
        self.throttle.acquire(self.now, peer, request).expect("it is acquirable");
        self.drain();
    }

    pub(crate) fn beat(&mut self, pause: Duration) {
        let peer = self.next();
        self.now = self.now + pause;
        assert_eq!(self.throttle.heartbeat(self.now, peer, LEASE), Ok(()));
    }

    /// Takes note of all events, and tells how many there were.
    fn drain(&mut self) -> usize {
        std::iter::from_fn(|| black_box(self.throttle.poll_event())).count()
    }
}

/// The id of a peer: 53 bits that differ for different numbers below 2^53.
fn id(number: u64) -> PeerId {
    let scattered = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & ((1 << 53) - 1);
    PeerId::new(scattered).expect("an odd factor makes zero of zero only")
}

pub(crate) const LEASE: Duration = Duration::from_secs(60);
