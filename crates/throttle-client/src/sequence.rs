//! Sequence numbers, which keep late requests from doing harm.
//!
//! A client that gives up a request and sends another one cannot call back the first, which a busy server or
//! a proxy may deliver late. So each request about the locks of a peer has a sequence number greater than all
//! before, and the server refuses a request with a lower number than an earlier one. A late release does not
//! free a lock that was taken again since, and a late request does not take a lock that nobody wants any
//! more.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use throttle_wire::Code;

use crate::Error;

/// What to do if the server refuses a request as stale, because one with a higher sequence number came
/// before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnStale {
    /// Send it again with a higher number, because the caller waits for the answer.
    Renumber,
    /// Return the refusal.
    Fail,
    /// Send the request without a number, so that it cannot be stale.
    Unnumbered,
}

impl OnStale {
    /// Sends a request with a sequence number, as `self` says. `send` takes the number.
    pub(crate) async fn send<T, F>(self, send: impl Fn(Option<u64>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match self {
            Self::Renumber => {
                for _ in 0..MOST_RENUMBERINGS {
                    match send(Some(next_sequence())).await {
                        Err(error) if error.is_stale() && error.try_advance_past_latest() => {}
                        Err(error) if error.is_stale() => break,
                        answer => return answer,
                    }
                }
                send(None).await
            }
            Self::Fail => send(Some(next_sequence())).await,
            Self::Unnumbered => send(None).await,
        }
    }
}

impl Error {
    /// Whether the server refused the request as stale.
    pub(crate) fn is_stale(&self) -> bool {
        self.code() == Some(Code::StaleRequest)
    }

    /// Moves the counter of this process past the sequence number that the server reports as the latest, so
    /// that the next number is higher. Returns whether that was possible.
    ///
    /// The latest number may come from another process that used the peer and whose clock is ahead. It may
    /// also be so high that no higher ones are left.
    pub(crate) fn try_advance_past_latest(&self) -> bool {
        matches!(*self, Self::Refused { sequence: Some(latest), .. } if try_advance_past(latest))
    }
}

/// How often a stale request is renumbered. Each time another request of the peer has overtaken it, and a
/// peer does not have that many.
const MOST_RENUMBERINGS: u32 = 256;

/// A number higher than all others of this process. If clocks are right, it is also higher than those of
/// earlier processes: it starts with the microseconds since 1970.
pub(crate) fn next_sequence() -> u64 {
    LATEST_SEQUENCE.fetch_add(1, Ordering::Relaxed) + 1
}

/// Makes all further numbers higher than `sequence`. Returns whether that is possible: numbers must stay
/// within 53 bits.
pub(crate) fn try_advance_past(sequence: u64) -> bool {
    let is_possible = sequence <= LARGEST_START;
    if is_possible {
        LATEST_SEQUENCE.fetch_max(sequence, Ordering::Relaxed);
    }
    is_possible
}

static LATEST_SEQUENCE: LazyLock<AtomicU64> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AtomicU64::new(
        u64::try_from(since.as_micros()).map_or(LARGEST_START, |it| it.min(LARGEST_START)),
    )
});

/// The highest first number. Below 2^53 it leaves a million numbers a second for a century.
const LARGEST_START: u64 = 1 << 52;
