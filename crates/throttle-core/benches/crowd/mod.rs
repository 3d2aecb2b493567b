//! A machine full of peers, and the operations whose cost is measured in it.
//!
//! A [`Question`] is measured in a steady state: each step leaves the machine as large as it found it.
//! So the same step serves the bench `core`, which measures time, and the bench `instructions`, which
//! counts instructions. Peers act in an order that jumps through memory, as independent clients do, and
//! their ids are spread widely, like the random ids of the runtime.

use std::{hint::black_box, time::Duration};

use throttle_core::{
    Admission, Count, Event, Level, LockRequest, PeerId, Release, SemaphoreId, Settings, Throttle,
    Time,
};

/// What a step costs among many peers.
pub(crate) struct Question {
    /// How many operations, or peers, a step handles.
    pub(crate) operations: u32,
    pub(crate) prepare: fn(u64) -> Crowd,
    pub(crate) step: fn(&mut Crowd),
}

/// A lock is acquired and released. The semaphore has room for all peers.
pub(crate) const ACQUIRE_AND_RELEASE: Question = Question {
    operations: 2,
    prepare: |peers| Crowd::of(peers, Count::MAX),
    step: |crowd| {
        let (peer, db) = (crowd.next(), crowd.db);
        let acquired = crowd.throttle.acquire(crowd.now, peer, (db, Count::ONE));
        assert!(acquired.is_ok_and(Admission::is_granted));
        let released = crowd.throttle.release(crowd.now, peer, db, None);
        assert_eq!(released, Ok(Release::Released));
        assert_eq!(crowd.drain(), 2);
    },
};

/// A heartbeat, three per lease. The later correction of the postponed deadline is included.
pub(crate) const HEARTBEAT: Question = Question {
    operations: 1,
    prepare: |peers| {
        let mut crowd = Crowd::of(peers, Count::MAX);
        let among = u32::try_from(peers).expect("at most a million");
        // Spread the deadlines, so that they come up one by one.
        for (number, peer) in (0..among).zip((0..peers).map(id)) {
            let lease = LEASE / 3 + LEASE / 2 * number / among;
            crowd.throttle.heartbeat(crowd.now, peer, lease).expect("the peer was just created");
        }
        for _ in 0..4 * peers {
            crowd.beat(crowd.pause);
        }
        crowd
    },
    step: |crowd| crowd.beat(crowd.pause),
};

/// A mutex passes on to the head of a queue, and its former holder joins the end.
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

/// A peer is created and removed among others that stay.
pub(crate) const NEW_PEER_AND_REMOVE_PEER: Question = Question {
    operations: 2,
    prepare: |peers| Crowd::of(peers, Count::MAX),
    step: |crowd| {
        let peer = crowd.newcomer(LEASE);
        assert!(crowd.throttle.remove_peer(crowd.now, peer, None));
        assert_eq!(crowd.drain(), 2);
    },
};

/// A few peers are created, acquire a lock, and expire together among others that stay.
pub(crate) const COME_AND_EXPIRE: Question = Question {
    operations: 16,
    prepare: |peers| Crowd::of(peers, Count::MAX),
    step: |crowd| {
        let lease = Duration::from_nanos(1);
        for _ in 0..16 {
            let (peer, db) = (crowd.newcomer(lease), crowd.db);
            let acquired = crowd.throttle.acquire(crowd.now, peer, (db, Count::ONE));
            assert!(acquired.is_ok_and(Admission::is_granted));
        }
        crowd.now = crowd.now + lease;
        assert!(crowd.throttle.expire(crowd.now));
        assert_eq!(crowd.drain(), 16 * 4);
    },
};

/// A few peers wait for a mutex under leases of zero length, among others that stay: each is granted the
/// lock when the one before it expires, and expires a nanosecond later.
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

/// A machine with one semaphore, and peers that act in turn.
pub(crate) struct Crowd {
    pub(crate) throttle: Throttle,
    pub(crate) now: Time,
    pub(crate) db: SemaphoreId,
    peers: u64,
    turn: u64,
    newcomers: u64,
    /// The time between two heartbeats of any peers, if each peer sends three per lease.
    pause: Duration,
}

impl Crowd {
    pub(crate) fn of(peers: u64, max: Count) -> Self {
        let mut throttle = Throttle::new(Settings::default());
        let db = throttle.add_semaphore(Time::ZERO, max, Level(0));
        for peer in 0..peers {
            throttle.new_peer(Time::ZERO, id(peer), LEASE).expect("the id is new");
        }
        let pause = LEASE / 3 / u32::try_from(peers).expect("at most a million");
        let now = Time::ZERO;
        let mut crowd = Self { throttle, now, db, peers, turn: 0, newcomers: 0, pause };
        crowd.drain();
        crowd
    }

    /// The next peer in turn.
    fn next(&mut self) -> PeerId {
        self.turn += 1;
        self.nth(self.turn - 1)
    }

    /// The stride is prime, so that each peer has its turn, and no multiple of what a cache fetches.
    pub(crate) fn nth(&self, turn: u64) -> PeerId {
        id(turn * 7_919 % self.peers)
    }

    /// Creates a peer.
    fn newcomer(&mut self, lease: Duration) -> PeerId {
        self.newcomers += 1;
        let peer = id(self.peers + self.newcomers);
        assert_eq!(self.throttle.new_peer(self.now, peer, lease), Ok(()));
        peer
    }

    /// The next peer acquires the lock, or waits for it.
    pub(crate) fn join_queue(&mut self) {
        let peer = self.next();
        self.throttle
            .acquire(self.now, peer, (self.db, Count::ONE))
            .expect("the count is acquirable");
        self.drain();
    }

    /// A new peer acquires the lock of a semaphore, or waits for it with an open request, under a lease of
    /// this length.
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
        self.throttle.acquire(self.now, peer, request).expect("the count is acquirable");
        self.drain();
    }

    pub(crate) fn beat(&mut self, pause: Duration) {
        let peer = self.next();
        self.now = self.now + pause;
        assert_eq!(self.throttle.heartbeat(self.now, peer, LEASE), Ok(()));
    }

    /// Drains all events, and returns how many there were.
    fn drain(&mut self) -> usize {
        std::iter::from_fn(|| black_box(self.throttle.poll_event())).count()
    }
}

/// The id of a peer: 53 bits that differ for different numbers below 2^53.
fn id(number: u64) -> PeerId {
    let scattered = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & ((1 << 53) - 1);
    PeerId::new(scattered).expect("an odd factor maps only zero to zero")
}

pub(crate) const LEASE: Duration = Duration::from_secs(60);
