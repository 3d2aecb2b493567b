//! How many peers, waiters and semaphores a measurement has.

use std::fmt;

use crate::server::ServerKind;

/// Who is there besides those that are measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Population {
    Nobody,
    /// So many peers that hold nothing.
    Idle(usize),
    /// So many peers that wait for a semaphore which is taken.
    Waiting(usize),
}

impl Population {
    /// Whether a server can be brought there within minutes. Each request costs the old server time
    /// in proportion to those who are there, and one that has to wait costs it a millisecond more.
    pub(crate) const fn is_bearable_for(self, kind: ServerKind) -> bool {
        match (kind, self) {
            (ServerKind::Floor | ServerKind::Ours, _) | (ServerKind::Old, Self::Nobody) => true,
            (ServerKind::Old, Self::Idle(peers)) => peers <= 100_000,
            (ServerKind::Old, Self::Waiting(peers)) => peers <= 10_000,
        }
    }
}

impl fmt::Display for Population {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Idle(peers) => write!(f, "{} idle", Short(*peers)),
            Self::Waiting(peers) => write!(f, "{} waiting", Short(*peers)),
        }
    }
}

/// A large round number as people write it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short(pub(crate) usize);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number if number >= 1_000_000 && number % 1_000_000 == 0 => {
                write!(f, "{}M", number / 1_000_000)
            }
            number if number >= 1_000 && number % 1_000 == 0 => write!(f, "{}k", number / 1_000),
            number => write!(f, "{number}"),
        }
    }
}

/// How many are concerned by what happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) peers: usize,
    /// How many leases of length zero wait for each other.
    pub(crate) chain: usize,
    pub(crate) semaphores: usize,
    /// How many locks each of a hundred peers holds.
    pub(crate) locks: usize,
}

impl Size {
    /// So many peers, and of everything else as much as is usual beside them.
    pub(crate) const fn of(peers: usize) -> Self {
        let chain = if peers < 100_000 { peers.div_ceil(100) } else { 1_000 };
        let locks = if peers < 100_000 { peers.div_ceil(20) } else { 7_000 };
        Self { peers, chain, semaphores: peers.div_ceil(10), locks }
    }
}
