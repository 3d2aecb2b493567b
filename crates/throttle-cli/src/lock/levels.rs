//! The order in which locks are taken.
//!
//! A peer takes locks from high levels to low ones, so that no two of them wait for each other. A program
//! in a command under a lock has a peer of its own, for it may be one of many that run side by side; but
//! it waits while the lock around it is held, so the same order holds for it. It knows that peer by its
//! environment and asks what the peer holds.

use std::{collections::BTreeMap, env, time::Duration};

use anyhow::anyhow;
use throttle_client::{Client, Error, PeerId};
use tokio::time::sleep;

use super::{args::RequestedLock, wait_limit::WaitLimit};
use crate::exit_status::{ExitStatus, Failure};

type Levels = BTreeMap<String, i64>;

/// Sorts what is wanted into the order in which it can be taken. A server that is too old to tell its levels
/// is asked in the order that was given.
///
/// # Errors
///
/// - [`ExitStatus::REFUSED`] if there is no such order
/// - as [`ExitStatus::of`] tells, if the server does not answer in time
pub(super) async fn sorted_by_level(
    client: &Client,
    requested: &[RequestedLock],
    limit: &WaitLimit,
) -> Result<Vec<RequestedLock>, Failure> {
    let mut requested = requested.to_vec();
    let outer_peer = env::var("THROTTLE_PEER").ok().and_then(|id| id.parse::<PeerId>().ok());
    if requested.len() < 2 && outer_peer.is_none() {
        return Ok(requested);
    }
    let list = ask_until_answered(client, limit, async || client.semaphores().await).await?;
    let Some(list) = list else { return Ok(requested) };
    let levels: Levels = list.into_iter().map(|it| (it.name, it.level.into())).collect();
    // What is not there comes first, so that it is refused before anybody waits.
    requested.sort_by_key(|it| std::cmp::Reverse(levels.get(&it.name).map_or(i64::MAX, |it| *it)));
    for pair in requested.windows(2) {
        let [one, other] = [&pair[0].name, &pair[1].name];
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
        // A peer of another server, or one that is gone, is not waited with.
        let held = peer.into_iter().flat_map(|it| it.held).map(|it| it.semaphore);
        check_outer_locks(outer_peer, held, &requested, &levels)?;
    }
    Ok(requested)
}

/// Refuses what cannot be taken while another peer holds something.
fn check_outer_locks(
    outer_peer: PeerId,
    held: impl Iterator<Item = String>,
    requested: &[RequestedLock],
    levels: &Levels,
) -> Result<(), Failure> {
    let held = held.filter_map(|name| Some((*levels.get(&name)?, name)));
    let Some((lowest, name)) = held.min() else { return Ok(()) };
    for RequestedLock { name: semaphore, .. } in requested {
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

/// Asks until there is an answer, or the patience is over. None if the server does not have it.
///
/// The client makes a single attempt.
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
            // Either it is too old for this, or something else stands in between at this moment.
            Error::UnexpectedAnswer { status: 404 | 405, .. } if client.version().await.is_ok() => {
                return Ok(None);
            }
            // Neither a redirect nor a proxy that wants to know who asks changes its mind.
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

/// How long to wait before the next attempt.
const PAUSE: Duration = Duration::from_millis(500);
