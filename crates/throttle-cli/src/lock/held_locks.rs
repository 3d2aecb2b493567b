//! What is held, as one.

use std::{
    fmt,
    future::{self, Future},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use serde_json::json;
use throttle_client::{Lock, Lost};
use tokio::time::timeout;

use super::RELEASE_TIMEOUT;
use crate::{
    exit_status::{ExitStatus, Failure},
    output,
};

/// The locks that were asked for: all of them, or something is lost.
pub(super) struct HeldLocks {
    /// In the order in which they were taken.
    locks: Vec<Lock>,
}

/// A lock that is lost, and why.
#[derive(Clone, Debug)]
pub(super) struct LostLock {
    semaphore: String,
    reason: Lost,
}

impl HeldLocks {
    pub(super) fn new(locks: Vec<Lock>) -> Self {
        Self { locks }
    }

    /// The lock on a semaphore.
    fn lock(&self, semaphore: &str) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.semaphore() == semaphore)
    }

    /// For how long it is certain that nobody else has any of it.
    pub(super) fn time_left(&self) -> Duration {
        self.locks.iter().map(Lock::time_left).min().unwrap_or_default()
    }

    /// Nothing, as long as all of it is held.
    pub(super) fn check(&self) -> Result<(), LostLock> {
        self.locks
            .iter()
            .try_for_each(|lock| lock.check().map_err(|lost| LostLock::new(lock, lost)))
    }

    /// Returns when any of it is lost.
    pub(super) async fn until_lost(&self) -> LostLock {
        let each = self.locks.iter().map(|lock| {
            let lost = async move { LostLock::new(lock, lock.lost().await) };
            Box::pin(lost) as Pin<Box<dyn Future<Output = LostLock>>>
        });
        let mut each: Vec<_> = each.collect();
        future::poll_fn(|context| {
            let mut polled = each.iter_mut().map(|lost| lost.as_mut().poll(context));
            polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }

    /// What is lost if the server stays out of reach, which is all of it.
    pub(super) fn unreachable_loss(&self) -> LostLock {
        let semaphore = self.locks.first().map(|lock| lock.semaphore().to_owned());
        LostLock { semaphore: semaphore.unwrap_or_default(), reason: Lost::Unreachable }
    }

    /// Gives everything back, but does not wait for long: the lease ends anyway.
    ///
    /// # Errors
    ///
    /// A lock that the server says was lost before. Work that was done last may have been done without
    /// it.
    pub(super) async fn release(self) -> Result<(), LostLock> {
        let give_back = async {
            let mut outcome = Ok(());
            for lock in self.locks.into_iter().rev() {
                let semaphore = lock.semaphore().to_owned();
                match lock.release().await.map_err(|reason| LostLock { semaphore, reason }) {
                    Ok(()) => {}
                    Err(loss) if loss.is_confirmed_by_server() => outcome = Err(loss),
                    Err(loss) => output::message(format_args!("{loss}, when all was done")),
                }
            }
            outcome
        };
        timeout(RELEASE_TIMEOUT, give_back).await.unwrap_or_else(|_| {
            output::message(
                "no answer to the release: others have to wait for the end of the lease",
            );
            Ok(())
        })
    }

    /// What tells a command what it holds. The locks are in the order of these names.
    pub(super) fn environment<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<(&'static str, String)> {
        let locks: Vec<&Lock> = names.filter_map(|name| self.lock(name)).collect();
        let Some(first) = locks.first() else { return Vec::new() };
        let all = locks.iter().map(|lock| {
            json!({
                "semaphore": lock.semaphore(),
                "count": lock.count(),
                "fencing_token": lock.fencing_token(),
            })
        });
        let token = first.fencing_token().map_or_else(String::new, |it| it.to_string());
        vec![
            ("THROTTLE_SEMAPHORE", first.semaphore().to_owned()),
            ("THROTTLE_PEER", first.peer_id().to_string()),
            ("THROTTLE_FENCING_TOKEN", token),
            ("THROTTLE_LOCKS", all.collect::<serde_json::Value>().to_string()),
        ]
    }

    /// A line for each lock: peer, fencing token, count, and the name, which may have spaces.
    pub(super) fn listing<'a>(&self, names: impl Iterator<Item = &'a str>) -> String {
        let lines = names.filter_map(|name| self.lock(name)).map(|lock| {
            let token = lock.fencing_token().map_or_else(|| "-".to_owned(), |it| it.to_string());
            let (peer, count, name) = (lock.peer_id(), lock.count(), lock.semaphore());
            format!("{peer} {token} {count} {name}\n")
        });
        lines.collect()
    }
}

impl LostLock {
    fn new(lock: &Lock, reason: Lost) -> Self {
        Self { semaphore: lock.semaphore().to_owned(), reason }
    }

    /// Whether the server has said so. Otherwise the lock is lost for all that is known here.
    fn is_confirmed_by_server(&self) -> bool {
        matches!(self.reason, Lost::Refused(_) | Lost::Revoked)
    }
}

impl fmt::Display for LostLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the lock on {:?} is lost: {}", self.semaphore, self.reason)
    }
}

impl From<LostLock> for Failure {
    fn from(loss: LostLock) -> Self {
        Self::new(ExitStatus::LOST, anyhow::anyhow!("{loss}"))
    }
}
