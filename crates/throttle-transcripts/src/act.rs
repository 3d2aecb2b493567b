//! One line of a script, parsed.

use std::{collections::BTreeMap, fmt, time::Duration};

/// A peer by its number in the script, such as 1 for `p1`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Peer(pub u64);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// What happens in a line. The requests that can carry a sequence number do so with `sequence 3` at the
/// end of the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    /// `p1 acquire A 2 [expires_in 30s] [block_for 10s]`
    Acquire {
        /// The peer that asks.
        peer: Peer,
        /// The semaphore.
        semaphore: String,
        /// The count. May be zero or negative, for the layers that accept such numbers.
        count: i64,
        /// The length of the renewed lease, if it is renewed.
        expires_in: Option<Duration>,
        /// How long the request stays open, if at all.
        block_for: Option<Duration>,
        /// The sequence number.
        sequence: Option<u64>,
    },
    /// `configure A 2 [level 1]`: adds a semaphore, or changes it.
    Configure(String, u64, i32),
    /// `p1 disconnect`: the connections of its open requests break.
    Disconnect(Peer),
    /// `p1 heartbeat 30s`
    Heartbeat(Peer, Duration),
    /// `p1 is_acquired`: does it wait for nothing?
    IsAcquired(Peer),
    /// `p1 new_peer 30s`
    NewPeer(Peer, Duration),
    /// `p1 release A`
    Release(Peer, String, Option<u64>),
    /// `remainder A`
    Remainder(String),
    /// `p1 remove_peer`
    RemovePeer(Peer, Option<u64>),
    /// `remove_semaphore A`
    RemoveSemaphore(String),
    /// `resize A 2`
    Resize(String, u64),
    /// `p1 restore 30s A=1 B=2`
    Restore(Peer, Duration, BTreeMap<String, i64>, Option<u64>),
    /// `resume_grants`
    ResumeGrants,
    /// `suspend_grants`
    SuspendGrants,
    /// `wait`: only time passes.
    Wait,
}

impl Act {
    /// The peer that acts.
    pub fn actor(&self) -> Option<Peer> {
        match self {
            Self::Acquire { peer, .. }
            | Self::Disconnect(peer)
            | Self::Heartbeat(peer, _)
            | Self::IsAcquired(peer)
            | Self::NewPeer(peer, _)
            | Self::Release(peer, ..)
            | Self::RemovePeer(peer, _)
            | Self::Restore(peer, ..) => Some(*peer),
            Self::Configure(..)
            | Self::Remainder(_)
            | Self::RemoveSemaphore(_)
            | Self::Resize(..)
            | Self::ResumeGrants
            | Self::SuspendGrants
            | Self::Wait => None,
        }
    }

    /// Parses a line without its time.
    ///
    /// # Panics
    ///
    /// If the line is invalid: scripts are part of the tests.
    pub fn parse(words: &str) -> Self {
        let words: Vec<&str> = words.split_whitespace().collect();
        let (words, sequence) = match *words.as_slice() {
            [ref words @ .., "sequence", number] => (words, Some(self::number(number))),
            ref words => (words, None),
        };
        match *words {
            ["wait"] => Self::Wait,
            ["suspend_grants"] => Self::SuspendGrants,
            ["resume_grants"] => Self::ResumeGrants,
            ["configure", semaphore, max] => Self::Configure(semaphore.to_owned(), number(max), 0),
            ["configure", semaphore, max, "level", level] => {
                Self::Configure(semaphore.to_owned(), number(max), number(level))
            }
            ["remove_semaphore", semaphore] => Self::RemoveSemaphore(semaphore.to_owned()),
            ["remainder", semaphore] => Self::Remainder(semaphore.to_owned()),
            ["resize", semaphore, max] => Self::Resize(semaphore.to_owned(), number(max)),
            [peer, "new_peer", lease] => Self::NewPeer(self::peer(peer), duration(lease)),
            [peer, "heartbeat", lease] => Self::Heartbeat(self::peer(peer), duration(lease)),
            [peer, "remove_peer"] => Self::RemovePeer(self::peer(peer), sequence),
            [peer, "is_acquired"] => Self::IsAcquired(self::peer(peer)),
            [peer, "disconnect"] => Self::Disconnect(self::peer(peer)),
            [peer, "release", semaphore] => {
                Self::Release(self::peer(peer), semaphore.to_owned(), sequence)
            }
            [peer, "restore", lease, ref locks @ ..] => Self::Restore(
                self::peer(peer),
                duration(lease),
                locks.iter().map(|lock| self::lock(lock)).collect(),
                sequence,
            ),
            [peer, "acquire", semaphore, count, ref options @ ..] => Self::Acquire {
                peer: self::peer(peer),
                semaphore: semaphore.to_owned(),
                count: number(count),
                expires_in: option(options, "expires_in"),
                block_for: option(options, "block_for"),
                sequence,
            },
            _ => panic!("{words:?} is no act"),
        }
    }
}

fn peer(word: &str) -> Peer {
    Peer(number(word.strip_prefix('p').expect("peers are called p1, p2 and so on")))
}

fn number<N: std::str::FromStr>(word: &str) -> N {
    word.parse().unwrap_or_else(|_| panic!("{word} is not a number of this type"))
}

/// Parses a duration such as `1m`.
pub(crate) fn duration(word: &str) -> Duration {
    humantime::parse_duration(word).unwrap_or_else(|_| panic!("{word} is not a duration"))
}

fn lock(word: &str) -> (String, i64) {
    let (semaphore, count) = word.split_once('=').expect("locks are written as A=1");
    (semaphore.to_owned(), number(count))
}

fn option(options: &[&str], name: &str) -> Option<Duration> {
    let known = |pair: &[&str]| matches!(pair, ["block_for" | "expires_in", _]);
    assert!(options.chunks(2).all(known), "unknown options: {options:?}");
    let at = options.iter().position(|&word| word == name)?;
    Some(duration(options.get(at + 1).expect("an option has a duration")))
}
