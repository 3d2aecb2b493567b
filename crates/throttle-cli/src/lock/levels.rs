//! Sorts the requested locks by level, from high to low, so that no two peers wait for each other.
//!
//! `throttlectl lock` may run within the command of another `throttlectl lock`. The inner one has a peer of
//! its own, because several of them may run in parallel. It waits while the outer locks are held, so its
//! levels have to be below theirs. The environment names the outer peer, and the server reports what that
//! peer holds.

use std::{collections::BTreeMap, env, time::Duration};

use anyhow::anyhow;
use throttle_client::{Client, Error, PeerId};
use tokio::time::sleep;

use super::{args::LockRequest, wait_limit::WaitLimit};
use crate::exit_status::{ExitStatus, Failure};

type Levels = BTreeMap<String, i64>;

/// Sorts the requested locks from high levels to low ones. A server of version 0.5 does not report levels;
/// for it, the given order stays.
///
/// # Errors
///
/// - [`ExitStatus::REFUSED`] if the locks cannot be held together
/// - as in [`ExitStatus::of_error`] if the server does not answer in time
pub(super) async fn sorted_by_level(
    client: &Client,
    requests: &[LockRequest],
    limit: &WaitLimit,
) -> Result<Vec<LockRequest>, Failure> {
    let mut requests = requests.to_vec();
    let outer_peer = env::var("THROTTLE_PEER").ok().and_then(|id| id.parse::<PeerId>().ok());
    if requests.len() < 2 && outer_peer.is_none() {
        return Ok(requests);
    }
    let list = ask_until_answered(client, limit, async || client.semaphores().await).await?;
    let Some(list) = list else { return Ok(requests) };
    let levels: Levels = list.into_iter().map(|it| (it.name, it.level.into())).collect();
    // Unknown semaphores come first, so that the server refuses them before this program waits.
    requests
        .sort_by_key(|it| std::cmp::Reverse(levels.get(&it.semaphore).map_or(i64::MAX, |it| *it)));
    for pair in requests.windows(2) {
        let [one, other] = [&pair[0].semaphore, &pair[1].semaphore];
        if let (Some(level), true) = (levels.get(one), levels.get(one) == levels.get(other)) {
            return Err(violation(format!(
                "{one:?} and {other:?} are both of level {level}, so that one of them cannot be taken while \
                 the other one is held"
            )));
        }
    }
    if let Some(outer_peer) = outer_peer {
        let peer =
            ask_until_answered(client, limit, async || client.peer(outer_peer).await).await?;
        // An absent peer, or one of another server, holds nothing here.
        let held = peer.into_iter().flat_map(|it| it.held).map(|it| it.semaphore);
        check_outer_locks(outer_peer, held, &requests, &levels)?;
    }
    Ok(requests)
}

/// Fails unless each requested level is below all levels that the outer peer holds.
fn check_outer_locks(
    outer_peer: PeerId,
    held: impl Iterator<Item = String>,
    requests: &[LockRequest],
    levels: &Levels,
) -> Result<(), Failure> {
    let held = held.filter_map(|name| Some((*levels.get(&name)?, name)));
    let Some((lowest, name)) = held.min() else { return Ok(()) };
    for LockRequest { semaphore, .. } in requests {
        if let Some(level) = levels.get(semaphore).filter(|level| **level >= lowest) {
            return Err(violation(format!(
                "{semaphore:?} is of level {level}, and cannot be taken in a command that runs under \
                 {name:?} of level {lowest} (peer {outer_peer})"
            )));
        }
    }
    Ok(())
}

fn violation(why: String) -> Failure {
    let code = throttle_client::Code::LockHierarchyViolation;
    let error = anyhow!("{code}: {why}; locks are taken from high levels to low ones");
    Failure::new(ExitStatus::REFUSED, error)
}

/// Repeats a request until the server answers or `limit` is over. `None` if the server has no such thing.
///
/// `client` makes a single attempt for each request.
async fn ask_until_answered<T>(
    client: &Client,
    limit: &WaitLimit,
    ask: impl AsyncFn() -> Result<T, Error>,
) -> Result<Option<T>, Failure> {
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        match &error {
            Error::Refused { status: 400..=428 | 430..=499, .. } => return Ok(None),
            // The server is too old for this route. Without a version, it may be a proxy that answers at this
            // moment.
            Error::UnexpectedAnswer { status: 404 | 405, .. } if client.version().await.is_ok() => {
                return Ok(None);
            }
            // A redirect, or a proxy that asks for credentials, does not change by waiting.
            Error::UnexpectedAnswer { status: 300..=399 | 401 | 403 | 407, .. } => {
                return Err(error.into());
            }
            Error::InvalidName { .. }
            | Error::InvalidRequest { .. }
            | Error::InvalidSetting { .. }
            | Error::InvalidUrl { .. } => return Err(error.into()),
            _ => {}
        }
        match limit.remaining() {
            Some(Duration::ZERO) => return Err(error.into()),
            left => sleep(left.map_or(PAUSE, |left| left.min(PAUSE))).await,
        }
    }
}

/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(500);
