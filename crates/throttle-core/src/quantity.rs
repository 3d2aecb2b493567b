//! Numbers with a meaning: who, what, how much, in which order.

use core::{fmt, num::NonZeroU64};

use crate::Error;

/// Who: identifies a peer.
///
/// Unpredictable ids are the embedder's duty; the core only sees to it that no two living peers
/// share one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerId(NonZeroU64);

impl PeerId {
    /// The peer with this number, or `None` for zero, which is nobody.
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

/// What: identifies a semaphore within one [`Throttle`](crate::Throttle).
///
/// Ids are handed out in order of creation and never again, also not after the semaphore was removed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SemaphoreId(pub(crate) u32);

impl SemaphoreId {
    /// The position of this semaphore in the order of creation, from zero.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How much: a positive number of permits, at most [`Count::MAX`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Count(NonZeroU64);

impl Count {
    /// One permit. All there is of a mutex.
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

impl TryFrom<i64> for Count {
    type Error = Error;

    /// # Errors
    ///
    /// [`Error::InvalidLockCount`] for zero and below, [`Error::LockCountTooLarge`] above
    /// [`Count::MAX`].
    fn try_from(count: i64) -> Result<Self, Error> {
        match u64::try_from(count) {
            Ok(0) | Err(_) => Err(Error::InvalidLockCount { found: count }),
            Ok(count) => Self::new(count).ok_or(Error::LockCountTooLarge),
        }
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
/// Handed on to the protected resource, it lets the resource turn away a holder whose lease has
/// passed to somebody else. It fits in 53 bits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FencingToken(pub(crate) u64);

impl FencingToken {
    /// 2^53 - 1, the largest integer that every JSON implementation keeps.
    pub const MAX: Self = Self((1 << 53) - 1);

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

/// The place of a request among all requests of its peer, as the client has numbered them.
///
/// A network may deliver a request after the client has given it up and sent others. A request that
/// arrives after one with a higher number is refused as [stale](crate::Error::StaleRequest).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sequence(u64);

impl Sequence {
    /// 2^53 - 1, the largest integer that every JSON implementation keeps.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The place with this number, or `None` above [`Sequence::MAX`]. Numbers may have gaps.
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

/// A place in a queue. Tickets only grow, so their order is the order of arrival, and no clock is
/// needed to be fair.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}
