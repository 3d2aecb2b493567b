//! How many peers, waiters and semaphores a measurement has.

use std::fmt;

use crate::server::ServerKind;

/// The peers at a server besides those that are measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Population {
    Nobody,
    /// This number of peers that hold nothing.
    Idle(usize),
    /// This number of peers that wait for a semaphore that another peer holds.
    Waiting(usize),
}

impl Population {
    /// Whether a server can have this population within minutes. Each request costs the old server time in
    /// proportion to its peers, and a request that has to wait costs a millisecond more.
    pub(crate) const fn is_reachable_for(self, kind: ServerKind) -> bool {
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

/// Shows a large round number in short, such as `100k`.
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

/// The size of the events in the study of pauses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) peers: usize,
    /// How many waiters with leases of length zero are served in a chain.
    pub(crate) chain: usize,
    pub(crate) semaphores: usize,
    /// How many locks each of a hundred peers holds.
    pub(crate) locks: usize,
}

impl Size {
    /// This number of peers, and the other numbers in proportion.
    pub(crate) const fn of(peers: usize) -> Self {
        let chain = if peers < 100_000 { peers.div_ceil(100) } else { 1_000 };
        let locks = if peers < 100_000 { peers.div_ceil(20) } else { 7_000 };
        Self { peers, chain, semaphores: peers.div_ceil(10), locks }
    }
}
