//! The order of what is asked for.
//!
//! Whoever gives up a request and sends another one cannot call back the first, which a busy server or
//! a proxy may deliver late. So whatever concerns the locks of a peer carries a number, greater than all
//! before, and the server refuses what comes after a greater one: a late release does not free what was
//! locked again since, and a late acquire does not lock what nobody wants.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use reqwest::Url;
use throttle_wire::Code;

use crate::Error;

/// What happens to a request that arrives after one with a greater number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnStale {
    /// It is sent again with a number greater still, because its caller waits for the answer.
    Renumber,
    /// It is refused.
    Fail,
    /// It has no number, and is served as it comes.
    Unnumbered,
}

impl OnStale {
    /// Sends a request in this order.
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
    /// Whether the request came after one with a greater number.
    pub(crate) fn is_stale(&self) -> bool {
        self.code() == Some(Code::StaleRequest)
    }

    /// Whether the next number will be greater than the one that came before. It may be that of another
    /// process that had the peer, and whose clock is ahead; or one that no clock shows, which leaves no
    /// room for more.
    pub(crate) fn try_advance_past_latest(&self) -> bool {
        matches!(*self, Self::Refused { sequence: Some(latest), .. } if try_advance_past(latest))
    }
}

/// Adds the number to the query of a request, if it has one.
pub(crate) fn with_sequence(mut url: Url, sequence: Option<u64>) -> Url {
    if let Some(sequence) = sequence {
        url.query_pairs_mut().append_pair("sequence", &sequence.to_string());
    }
    url
}

/// How often a request is sent again. Each time another one has overtaken it, and no peer has so many.
const MOST_RENUMBERINGS: u32 = 256;

/// A number that is greater than all that this process has drawn. As far as clocks are right it is also
/// greater than those of processes that were before: it begins with the microseconds since 1970.
pub(crate) fn next_sequence() -> u64 {
    LATEST_SEQUENCE.fetch_add(1, Ordering::Relaxed) + 1
}

/// From now on numbers are greater than this one. Returns whether that is possible: they have to stay
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

/// Leaves room below 2^53 for more numbers than a process can draw: a million a second for a century.
const LARGEST_START: u64 = 1 << 52;
