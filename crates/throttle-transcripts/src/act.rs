//! One line of a script: when who does what.

use std::{collections::BTreeMap, fmt, time::Duration};

/// A peer by the number it has in the script, such as 1 for `p1`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Peer(pub u64);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// What somebody does. Who asks for locks or gives them back may number their requests, with `number 3`
/// at the end of the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    /// `p1 acquire A 2 [lease 30s] [blocking 10s]`
    Acquire {
        /// Who asks.
        peer: Peer,
        /// For what.
        semaphore: String,
        /// For how much; zero and below are for the layers that can be told so.
        count: i64,
        /// A new lease, if any.
        lease: Option<Duration>,
        /// How long to wait for an answer, if at all.
        blocking: Option<Duration>,
        /// The number of the request.
        number: Option<u64>,
    },
    /// `p1 ask`: does it wait for nothing?
    Ask(Peer),
    /// `p1 hang up`: the connections of its open requests break.
    HangUp(Peer),
    /// `p1 heartbeat 30s`
    Heartbeat(Peer, Duration),
    /// `p1 join 30s`
    Join(Peer, Duration),
    /// `p1 leave`
    Leave(Peer, Option<u64>),
    /// `p1 release A`
    Release(Peer, String, Option<u64>),
    /// `remainder A`
    Remainder(String),
    /// `resize A 2`
    Resize(String, u64),
    /// `p1 restore 30s A=1 B=2`
    Restore(Peer, Duration, BTreeMap<String, i64>, Option<u64>),
    /// `wait`: nobody does anything.
    Wait,
}

impl Act {
    /// Who does it.
    pub fn actor(&self) -> Option<Peer> {
        match self {
            Self::Acquire { peer, .. }
            | Self::Ask(peer)
            | Self::HangUp(peer)
            | Self::Heartbeat(peer, _)
            | Self::Join(peer, _)
            | Self::Leave(peer, _)
            | Self::Release(peer, ..)
            | Self::Restore(peer, ..) => Some(*peer),
            Self::Remainder(_) | Self::Resize(..) | Self::Wait => None,
        }
    }

    /// Reads the words of a line, without its time.
    ///
    /// # Panics
    ///
    /// If it cannot be read: scripts are part of the tests.
    pub fn parse(words: &str) -> Self {
        let words: Vec<&str> = words.split_whitespace().collect();
        let (words, number) = match *words.as_slice() {
            [ref words @ .., "number", number] => (words, Some(self::number(number))),
            ref words => (words, None),
        };
        match *words {
            ["wait"] => Self::Wait,
            ["remainder", semaphore] => Self::Remainder(semaphore.to_owned()),
            ["resize", semaphore, max] => Self::Resize(semaphore.to_owned(), self::number(max)),
            [peer, "join", lease] => Self::Join(self::peer(peer), duration(lease)),
            [peer, "heartbeat", lease] => Self::Heartbeat(self::peer(peer), duration(lease)),
            [peer, "leave"] => Self::Leave(self::peer(peer), number),
            [peer, "ask"] => Self::Ask(self::peer(peer)),
            [peer, "hang", "up"] => Self::HangUp(self::peer(peer)),
            [peer, "release", semaphore] => {
                Self::Release(self::peer(peer), semaphore.to_owned(), number)
            }
            [peer, "restore", lease, ref locks @ ..] => Self::Restore(
                self::peer(peer),
                duration(lease),
                locks.iter().map(|lock| self::lock(lock)).collect(),
                number,
            ),
            [peer, "acquire", semaphore, count, ref options @ ..] => Self::Acquire {
                peer: self::peer(peer),
                semaphore: semaphore.to_owned(),
                count: self::number(count),
                lease: option(options, "lease"),
                blocking: option(options, "blocking"),
                number,
            },
            _ => panic!("nobody can do {words:?}"),
        }
    }
}

fn peer(word: &str) -> Peer {
    Peer(number(word.strip_prefix('p').expect("peers are called p1, p2 and so on")))
}

fn number<N: std::str::FromStr>(word: &str) -> N {
    word.parse().unwrap_or_else(|_| panic!("{word} is no such number"))
}

/// Reads a duration as people write it.
pub(crate) fn duration(word: &str) -> Duration {
    humantime::parse_duration(word).unwrap_or_else(|_| panic!("{word} is no duration"))
}

fn lock(word: &str) -> (String, i64) {
    let (semaphore, count) = word.split_once('=').expect("locks are written as A=1");
    (semaphore.to_owned(), number(count))
}

fn option(options: &[&str], name: &str) -> Option<Duration> {
    let known = |pair: &[&str]| matches!(pair, ["lease" | "blocking", _]);
    assert!(options.chunks(2).all(known), "nobody knows what {options:?} means");
    let at = options.iter().position(|&word| word == name)?;
    Some(duration(options.get(at + 1).expect("an option has a duration")))
}
