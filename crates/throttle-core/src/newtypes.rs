//! Ids, counts and other numbers, each with a type of its own.

use core::{fmt, num::NonZeroU64};

/// Identifies a peer.
///
/// The embedder chooses the ids and has to make them unpredictable. The core only ensures that no two
/// peers share one at the same time.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerId(NonZeroU64);

impl PeerId {
    /// The id with this number, or `None` for zero.
    pub const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies a semaphore within one [`Throttle`](crate::Throttle).
///
/// Ids count up in the order of creation. None is reused, even after its semaphore was removed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SemaphoreId(pub(crate) u32);

impl SemaphoreId {
    /// The position in the order of creation, from zero.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A positive number of permits, at most [`Count::MAX`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Count(NonZeroU64);

impl Count {
    /// One permit: the maximum of a mutex.
    pub const ONE: Self = Self(NonZeroU64::MIN);
    /// 2^53 - 1, the largest integer that every JSON implementation keeps.
    pub const MAX: Self = Self(NonZeroU64::new((1 << 53) - 1).expect("it is not zero"));

    /// This many permits, or `None` for zero and for more than [`Count::MAX`].
    pub const fn new(count: u64) -> Option<Self> {
        match NonZeroU64::new(count) {
            Some(count) if count.get() <= Self::MAX.get() => Some(Self(count)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A semaphore's place in the lock hierarchy: a peer takes locks from high levels to low ones.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Level(pub i32);

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that comes with a grant, greater than that of every earlier grant of the same semaphore.
///
/// A holder passes it on to the protected resource, which rejects requests with a token lower than the
/// highest one it has seen: their lease has ended. It fits in 53 bits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FencingToken(pub(crate) u64);

impl FencingToken {
    /// 2^53 - 1, the largest integer that every JSON implementation keeps.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The token with this number, or `None` above [`FencingToken::MAX`].
    pub const fn new(number: u64) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number that a client gives to a request. Later requests of the same peer have higher numbers.
///
/// A network may deliver a request after the client has given it up and sent others. A request that
/// arrives after one with a higher number is refused as [stale](crate::Error::StaleRequest).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sequence(u64);

impl Sequence {
    /// 2^53 - 1, the largest integer that every JSON implementation keeps.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The sequence with this number, or `None` above [`Sequence::MAX`]. Gaps are allowed.
    pub const fn new(number: u64) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Orders the waiters of a queue. Tickets only grow, so their order is the order of arrival, and
/// fairness needs no clock.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The ticket with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}
