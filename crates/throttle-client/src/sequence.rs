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
pub(crate) enum Order {
    /// It is sent again with a number greater still, because its caller waits for the answer.
    Insist,
    /// It is refused.
    Keep,
    /// It has no number, and is served as it comes.
    Ignore,
}

impl Order {
    /// Sends a request in this order.
    pub(crate) async fn send<T, F>(self, send: impl Fn(Option<u64>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match self {
            Self::Insist => {
                for _ in 0..OVERTAKEN_AT_MOST {
                    match send(Some(next_number())).await {
                        Err(error) if error.is_stale() && error.can_be_followed() => {}
                        Err(error) if error.is_stale() => break,
                        answer => return answer,
                    }
                }
                send(None).await
            }
            Self::Keep => send(Some(next_number())).await,
            Self::Ignore => send(None).await,
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
    pub(crate) fn can_be_followed(&self) -> bool {
        matches!(*self, Self::Refused { sequence: Some(latest), .. } if continue_numbers_after(latest))
    }
}

/// Adds the number to the query of a request, if it has one.
pub(crate) fn numbered(mut url: Url, number: Option<u64>) -> Url {
    if let Some(number) = number {
        url.query_pairs_mut().append_pair("sequence", &number.to_string());
    }
    url
}

/// How often a request is sent again. Each time another one has overtaken it, and no peer has so many.
const OVERTAKEN_AT_MOST: u32 = 256;

/// A number that is greater than all that this process has drawn. As far as clocks are right it is also
/// greater than those of processes that were before: it begins with the microseconds since 1970.
pub(crate) fn next_number() -> u64 {
    LATEST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1
}

/// From now on numbers are greater than this one. Returns whether that is possible: they have to stay
/// within 53 bits.
pub(crate) fn continue_numbers_after(number: u64) -> bool {
    let is_possible = number <= LARGEST_START;
    if is_possible {
        LATEST_NUMBER.fetch_max(number, Ordering::Relaxed);
    }
    is_possible
}

static LATEST_NUMBER: LazyLock<AtomicU64> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AtomicU64::new(
        u64::try_from(since.as_micros()).map_or(LARGEST_START, |it| it.min(LARGEST_START)),
    )
});

/// Leaves room below 2^53 for more numbers than a process can draw: a million a second for a century.
const LARGEST_START: u64 = 1 << 52;
