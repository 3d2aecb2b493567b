//! All locks of this program, held and lost together.

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

use crate::{
    exit_status::{ExitStatus, Failure},
    output,
};

/// The requested locks. If one of them is lost, all count as lost.
pub(super) struct HeldLocks {
    /// In the order in which they were granted.
    locks: Vec<Lock>,
}

/// A lost lock, with the reason.
#[derive(Clone, Debug)]
pub(super) struct LostLock {
    semaphore: String,
    reason: Lost,
}

impl HeldLocks {
    pub(super) fn new(locks: Vec<Lock>) -> Self {
        Self { locks }
    }

    fn lock(&self, semaphore: &str) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.semaphore() == semaphore)
    }

    /// How long all locks are certain to be held: the shortest time left.
    pub(super) fn time_left(&self) -> Duration {
        self.locks.iter().map(Lock::time_left).min().unwrap_or_default()
    }

    /// Fails if one of the locks is lost.
    pub(super) fn check(&self) -> Result<(), LostLock> {
        self.locks
            .iter()
            .try_for_each(|lock| lock.check().map_err(|reason| LostLock::new(lock, reason)))
    }

    /// Resolves when one of the locks is lost.
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

    /// The loss to report if the server stays unreachable: the first lock stands for all of them.
    pub(super) fn unreachable_loss(&self) -> LostLock {
        let semaphore = self.locks.first().map(|lock| lock.semaphore().to_owned());
        LostLock { semaphore: semaphore.unwrap_or_default(), reason: Lost::Unreachable }
    }

    /// Releases all locks, the last one first. Gives up after [`RELEASE_TIMEOUT`], because the lease ends
    /// anyway.
    ///
    /// # Errors
    ///
    /// A lock that was lost before, according to the server. The command may have run without it at the end.
    pub(super) async fn release(self) -> Result<(), LostLock> {
        let release_all = async {
            let mut outcome = Ok(());
            for lock in self.locks.into_iter().rev() {
                let semaphore = lock.semaphore().to_owned();
                match lock.release().await.map_err(|reason| LostLock { semaphore, reason }) {
                    Ok(()) => {}
                    Err(loss) if loss.is_confirmed_by_server() => outcome = Err(loss),
                    Err(loss) => output::print_message(format_args!("{loss}, when all was done")),
                }
            }
            outcome
        };
        timeout(RELEASE_TIMEOUT, release_all).await.unwrap_or_else(|_| {
            output::print_message(
                "no answer to the release: others have to wait for the end of the lease",
            );
            Ok(())
        })
    }

    /// The environment variables of the command that describe its locks, in the order of `names`.
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

    /// A line for each lock: peer, fencing token, count and name. The name comes last because it may have
    /// spaces.
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

    /// Whether the server reported the loss. Otherwise the client assumes it, because it cannot know.
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

/// How long the release of all locks may take when the command has ended.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
