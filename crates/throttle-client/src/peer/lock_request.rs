//! The builder of a request for a lock.

use std::{pin::Pin, time::Duration};

use tracing::{Instrument as _, debug_span};

use super::{Lock, LockError, Peer, PeerBuilder, TARGET, acquisition::Acquisition};

/// Asks for a lock when it is awaited. Made by [`Client::lock`](crate::Client::lock) and [`Peer::lock`].
///
/// While it waits, the request has a place in the server's queue, which is first come, first served. If it is
/// dropped, or its time is over, it is withdrawn, in the background if necessary. A lock that nobody waits
/// for any more is not kept.
///
/// [`wait_at_most`](Self::wait_at_most) is the only limit, and it is exact. Until then the request is
/// repeated if the server does not answer or is restarted, with growing pauses of up to two seconds. Without
/// a limit it is repeated forever; a `tracing` event at level WARN reports failures after some seconds and
/// then every half minute.
///
/// # Errors
///
/// - [`LockError::NotInTime`] if the server answered, and the lock was not free in time
/// - [`LockError::Unreachable`] if the time is over and the last request got no answer
/// - [`LockError::AlreadyHeld`]
/// - [`LockError::Failed`] with the errors of [`Client::acquire`](crate::Client::acquire)
/// - [`LockError::Lost`] if the peer was removed at the server while it waited, or is closed
///
/// # Panics
///
/// Outside of a tokio runtime with timers and I/O.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked for until it is awaited"]
pub struct LockRequest {
    peer: RequestPeer,
    semaphore: String,
    count: u64,
    wait_at_most: Option<Duration>,
}

/// The peer that asks.
#[derive(Clone, Debug)]
enum RequestPeer {
    Existing(Peer),
    /// A peer for this lock only.
    New(PeerBuilder),
}

impl LockRequest {
    pub(super) fn for_peer(peer: Peer, semaphore: String) -> Self {
        Self { peer: RequestPeer::Existing(peer), semaphore, count: 1, wait_at_most: None }
    }

    pub(super) fn for_new_peer(peer: PeerBuilder, semaphore: String) -> Self {
        Self { peer: RequestPeer::New(peer), semaphore, count: 1, wait_at_most: None }
    }

    /// The count to ask for. Default: 1.
    pub fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Gives up after this time. A later answer is handled in the background.
    ///
    /// With zero this does the same as [`try_lock`](Self::try_lock): one attempt, whose answer is waited for.
    pub fn wait_at_most(mut self, wait_at_most: Duration) -> Self {
        self.wait_at_most = Some(wait_at_most);
        self
    }

    /// Returns the lock if it is free at this moment.
    ///
    /// Sends one request, and waits at most five seconds for the answer.
    ///
    /// # Errors
    ///
    /// Those of [`LockRequest`] except [`LockError::NotInTime`].
    pub async fn try_lock(self) -> Result<Option<Lock>, LockError> {
        match self.wait_at_most(Duration::ZERO).await {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::NotInTime { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(self) -> Result<Lock, LockError> {
        let Self { peer, semaphore, count, wait_at_most } = self;
        let peer = match peer {
            RequestPeer::Existing(peer) => peer,
            RequestPeer::New(builder) => builder.build(),
        };
        Acquisition::new(peer, semaphore, count, wait_at_most).run().await
    }
}

impl IntoFuture for LockRequest {
    type Output = Result<Lock, LockError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { semaphore, count, .. } = &self;
        let span = debug_span!(target: TARGET, "lock", semaphore, count);
        Box::pin(self.send().instrument(span))
    }
}
