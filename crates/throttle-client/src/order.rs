//! The order of what is asked for.
//!
//! Whoever gives up a request and sends another one cannot call back the first, which a busy server or
//! a proxy may deliver late. So whatever concerns the locks of a peer carries a number, greater than all
//! before, and the server refuses what comes after a greater one: a late release does not free what was
//! locked again since, and a late acquire does not lock what nobody wants.

use reqwest::Url;
use throttle_wire::Code;

use crate::{Error, world};

/// Sends a request with a number. If it was overtaken by another one of its peer, on its way rather
/// than in the past, for somebody waits for it, it is sent again with a greater number.
pub(crate) async fn in_order<T, F>(send: impl Fn(u64) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 0..OVERTAKEN_AT_MOST {
        match once_in_order(&send).await {
            Err(Error::Refused { code: Code::StaleRequest, .. }) => {}
            answer => return answer,
        }
    }
    once_in_order(send).await
}

/// The same, but it is not sent again.
pub(crate) async fn once_in_order<T, F>(send: impl Fn(u64) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let answer = send(world::next_number()).await;
    if let Err(Error::Refused { sequence: Some(latest), .. }) = answer {
        // Another process, or one before this, had the peer, and a clock that is ahead of ours.
        world::exceed_number(latest);
    }
    answer
}

/// Adds the number to the query of a request.
pub(crate) fn numbered(mut url: Url, number: u64) -> Url {
    url.query_pairs_mut().append_pair("sequence", &number.to_string());
    url
}

/// How often a request is sent again, before something else must be wrong.
const OVERTAKEN_AT_MOST: u32 = 8;
