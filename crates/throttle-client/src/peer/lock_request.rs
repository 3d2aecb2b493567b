//! What can be said about a lock before it is asked for.

use std::{pin::Pin, time::Duration};

use tracing::{Instrument as _, debug_span};

use super::{Lock, LockError, Peer, PeerBuilder, TARGET, acquisition::Acquisition};

/// Asks for a lock when it is awaited. Made by [`Client::lock`](crate::Client::lock) and [`Peer::lock`].
///
/// While it waits it has a place in the queue of the server, which is first come, first served. If it
/// is dropped, or its time is over, the place is given up, in the background if need be; the lock is
/// not granted behind anybody's back.
///
/// The time of [`wait_at_most`](Self::wait_at_most) is the only limit, and it is kept. Until then a server
/// that does not answer is asked again and again, with growing pauses of up to two seconds, and so is one that
/// was started again. Without it the request goes on for as long as it takes, and tells of its trouble by a
/// `tracing` event at level WARN after some seconds and then every half minute.
///
/// # Errors
///
/// - [`LockError::NotInTime`] if the server answered, and the lock was not free in time
/// - [`LockError::Unreachable`] if the time was over and the server did not answer at last
/// - [`LockError::AlreadyHeld`]
/// - [`LockError::Failed`] as told for [`Client::acquire`](crate::Client::acquire)
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

/// Who asks.
#[derive(Clone, Debug)]
enum RequestPeer {
    Existing(Peer),
    /// A peer that is there only for this lock.
    New(PeerBuilder),
}

impl LockRequest {
    pub(super) fn for_peer(peer: Peer, semaphore: String) -> Self {
        Self { peer: RequestPeer::Existing(peer), semaphore, count: 1, wait_at_most: None }
    }

    pub(super) fn for_new_peer(peer: PeerBuilder, semaphore: String) -> Self {
        Self { peer: RequestPeer::New(peer), semaphore, count: 1, wait_at_most: None }
    }

    /// How much to ask for. Default: 1.
    pub fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Gives up after this time. An answer that arrives later is dealt with in the background.
    ///
    /// No time at all is as for [`try_lock`](Self::try_lock): one attempt, and its answer is waited for.
    pub fn wait_at_most(mut self, wait_at_most: Duration) -> Self {
        self.wait_at_most = Some(wait_at_most);
        self
    }

    /// The lock, if it is free at this moment.
    ///
    /// It asks once, and waits for the answer at most five seconds.
    ///
    /// # Errors
    ///
    /// As told for [`LockRequest`], but [`LockError::NotInTime`].
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
