//! Acquires all requested locks, one after the other.

use std::{path::Path, time::Duration};

use anyhow::anyhow;
use humantime::format_duration;
use throttle_client::{Client, Code, Labels, Lock, LockError, Peer, RetryPolicy, process_labels};

use super::{
    args::{self, LockRequest},
    held_locks::HeldLocks,
    levels,
    wait_limit::WaitLimit,
    wait_progress::WaitProgress,
};
use crate::{
    exit_status::{ExitStatus, Failure},
    server_args::ServerArgs,
};

/// Builds the peer that holds all locks of this program.
pub(super) fn new_peer(server: &ServerArgs, arguments: &args::Lock) -> Result<Peer, Failure> {
    let client = server.client()?.build()?;
    let mut peer = Peer::builder(&client).lease(arguments.lease);
    if !arguments.no_default_labels {
        peer = peer.default_labels(default_labels(arguments));
    }
    Ok(peer.labels(arguments.label.iter().cloned()).build())
}

/// Labels that show people who holds a lock.
fn default_labels(arguments: &args::Lock) -> Labels {
    let mut labels = process_labels();
    if let Some(program) = arguments.command.first() {
        let name = Path::new(program).file_name().unwrap_or(program);
        labels.insert("command".to_owned(), name.to_string_lossy().into_owned());
    }
    labels
}

/// Acquires the locks from high levels to low ones.
///
/// # Errors
///
/// With the status that `--conflict-exit-code` chooses, if a lock is not free in time.
pub(super) async fn acquire_all(
    server: &ServerArgs,
    peer: &Peer,
    requests: &[LockRequest],
    arguments: &args::Lock,
) -> Result<HeldLocks, Failure> {
    let limit = WaitLimit::new(match arguments.nonblocking {
        true => Some(Duration::ZERO),
        false => arguments.wait,
    });
    let time =
        limit.remaining().unwrap_or(ATTEMPT_TIMEOUT).clamp(MIN_ATTEMPT_TIMEOUT, ATTEMPT_TIMEOUT);
    let client = server.client()?.timeout(time).retry(RetryPolicy::none()).build()?;
    let progress = WaitProgress::new(&client, &requests[0].semaphore, peer);
    let sorted = progress.show_during(levels::sorted_by_level(&client, requests, &limit)).await;
    let sorted = sorted.map_err(|failure| {
        let names: Vec<_> = requests.iter().map(|it| format!("{:?}", it.semaphore)).collect();
        failure.context(format!("no lock on {}", names.join(", ")))
    })?;
    let mut locks = Vec::new();
    for request in &sorted {
        let lock = acquire_one(&client, peer, request, &limit).await;
        let lock = lock.map_err(|error| failure(error, !locks.is_empty(), arguments))?;
        locks.push(lock);
    }
    Ok(HeldLocks::new(locks))
}

async fn acquire_one(
    client: &Client,
    peer: &Peer,
    LockRequest { semaphore, count }: &LockRequest,
    limit: &WaitLimit,
) -> Result<Lock, LockError> {
    let mut lock = peer.lock(semaphore).count(*count);
    if let Some(left) = limit.remaining() {
        lock = lock.wait_at_most(left);
    }
    WaitProgress::new(client, semaphore, peer).show_during(lock.into_future()).await
}

fn failure(error: LockError, is_something_held: bool, arguments: &args::Lock) -> Failure {
    let conflict = match &error {
        LockError::AlreadyHeld { .. } | LockError::NotInTime { .. } => arguments.conflict_exit_code,
        _ => None,
    };
    let status = match &error {
        // A lock that was held is lost, and others may hold it already. Another attempt is no cure.
        LockError::Lost { .. } if is_something_held => Some(ExitStatus::LOST),
        _ => conflict.map(ExitStatus),
    };
    let is_unknown = error.code() == Some(Code::UnknownSemaphore);
    let mut failure = match (&error, arguments.wait) {
        // Name the whole time to wait, not the time that was left at the last request.
        (LockError::NotInTime { semaphore, server, .. }, Some(wait)) => {
            let wait = format_duration(wait);
            let text = anyhow!("{semaphore:?} of {server} was not free within {wait}");
            Failure::new(ExitStatus::NOT_ACQUIRED, text)
        }
        _ => Failure::from(error),
    };
    failure.status = status.unwrap_or(failure.status);
    if is_unknown && arguments.may_lack_dashes() {
        failure.hint = Some("the command follows `--`, as in `throttlectl lock NAME -- COMMAND`");
    }
    failure
}

/// How long a single attempt of a request may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter attempts fail on slow networks.
const MIN_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
