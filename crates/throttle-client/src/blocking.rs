//! Peers and locks for programs without an async runtime.
//!
//! The types do the same as [`Peer`](crate::Peer) and [`Lock`](crate::Lock), but their methods block the
//! thread. One background thread for the whole program keeps all peers alive. Blocking methods panic within
//! an async task.
//!
//! A dropped lock is released, and a peer is removed from the server when its last clone is dropped. The drop
//! waits for that, but no longer than two seconds; within an async task it does not wait.
//!
//! ```no_run
//! use std::time::Duration;
//! use throttle_client::{Client, blocking};
//!
//! let throttle = Client::new("http://localhost:8000")?;
//! let lock = blocking::lock(throttle.lock("db").wait_at_most(Duration::from_secs(60)))?;
//! for step in 0..10 {
//!     // Ends the work if the lock was lost meanwhile.
//!     lock.check()?;
//!     println!("step {step} with token {:?}", lock.fencing_token());
//! }
//! lock.release()?;
//!
//! // Everything else that a client can do:
//! let semaphores = blocking::wait(throttle.semaphores())?;
//! let is_held = blocking::wait(throttle.is_held("db", 17))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{sync::OnceLock, time::Duration};

use throttle_wire::PeerId;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{Client, LockError, LockRequest, Lost, PeerBuilder, peer::CLOSE_TIMEOUT};

/// A client of the server that holds locks, and keeps itself and them alive. See [`crate::Peer`].
#[derive(Clone, Debug)]
pub struct Peer {
    /// `None` only during the drop.
    peer: Option<crate::Peer>,
}

/// A lock that is held, and kept alive until it is dropped. See [`crate::Lock`].
#[derive(Debug)]
#[must_use = "it is released when it is dropped"]
pub struct Lock {
    /// `None` only during the drop.
    lock: Option<crate::Lock>,
}

/// Blocks the thread until `future` is done. Use it for the methods of [`Client`].
///
/// # Panics
///
/// Within an async task, and if the system cannot start a thread.
pub fn wait<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// Waits for a lock. The request comes from a [client](Client::lock) or a [peer](crate::Peer::lock).
///
/// # Errors
///
/// As [`LockRequest`].
///
/// # Panics
///
/// As [`wait`].
pub fn lock(request: LockRequest) -> Result<Lock, LockError> {
    wait(request.into_future()).map(Lock::new)
}

/// Returns the lock if it is free at this moment.
///
/// # Errors
///
/// As [`LockRequest::try_lock`].
///
/// # Panics
///
/// As [`wait`].
pub fn try_lock(request: LockRequest) -> Result<Option<Lock>, LockError> {
    wait(request.try_lock()).map(|lock| lock.map(Lock::new))
}

impl Peer {
    /// A peer with a lease of a minute.
    ///
    /// # Panics
    ///
    /// If the system cannot start a thread.
    pub fn new(client: &Client) -> Self {
        Self::build(crate::Peer::builder(client))
    }

    /// A peer with the settings of `builder`.
    ///
    /// # Panics
    ///
    /// If the system cannot start a thread.
    pub fn build(builder: PeerBuilder) -> Self {
        let _runtime = runtime().enter();
        Self { peer: Some(builder.build()) }
    }

    /// Waits for `count` of `semaphore`: no longer than `wait_at_most`, or without a limit if that is `None`.
    ///
    /// # Errors
    ///
    /// As [`LockRequest`].
    pub fn lock(
        &self,
        semaphore: &str,
        count: u64,
        wait_at_most: Option<Duration>,
    ) -> Result<Lock, LockError> {
        let request = self.peer().lock(semaphore).count(count);
        let request = match wait_at_most {
            Some(span) => request.wait_at_most(span),
            None => request,
        };
        lock(request)
    }

    /// Returns a lock on `count` of `semaphore` if it is free at this moment.
    ///
    /// # Errors
    ///
    /// As [`LockRequest::try_lock`].
    pub fn try_lock(&self, semaphore: &str, count: u64) -> Result<Option<Lock>, LockError> {
        try_lock(self.peer().lock(semaphore).count(count))
    }

    /// The id under which the server knows the peer, if there is one at present.
    pub fn id(&self) -> Option<PeerId> {
        self.peer().id()
    }

    /// Sends a heartbeat now. See [`crate::Peer::renew`].
    ///
    /// # Errors
    ///
    /// Why the peer is lost, if it is.
    pub fn renew(&self) -> Result<(), Lost> {
        wait(self.peer().renew())
    }

    /// Removes the peer from the server with all that it holds. See [`crate::Peer::close`].
    pub fn close(mut self) {
        if let Some(peer) = self.peer.take() {
            wait(peer.close());
        }
    }

    fn peer(&self) -> &crate::Peer {
        self.peer.as_ref().expect("it is Some until the drop")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(peer) = self.peer.take().filter(crate::Peer::is_last_handle) {
            wait_briefly(peer.close());
        }
    }
}

impl Lock {
    fn new(lock: crate::Lock) -> Self {
        Self { lock: Some(lock) }
    }

    fn lock(&self) -> &crate::Lock {
        self.lock.as_ref().expect("it is Some until the drop")
    }

    fn lock_mut(&mut self) -> &mut crate::Lock {
        self.lock.as_mut().expect("it is Some until the drop")
    }

    /// The name of the semaphore.
    pub fn semaphore(&self) -> &str {
        self.lock().semaphore()
    }

    /// The count that is held.
    pub fn count(&self) -> u64 {
        self.lock().count()
    }

    /// The id of the peer at the server.
    pub fn peer_id(&self) -> PeerId {
        self.lock().peer_id()
    }

    /// The fencing token. See [`crate::Lock::fencing_token`].
    pub fn fencing_token(&self) -> Option<u64> {
        self.lock().fencing_token()
    }

    /// How long the lock is certainly held, even if no further heartbeat arrives.
    pub fn time_left(&self) -> Duration {
        self.lock().time_left()
    }

    /// Whether it is certain at this moment that the lock has not been granted to another peer.
    pub fn is_held(&self) -> bool {
        self.lock().is_held()
    }

    /// Succeeds while the lock is certainly held.
    ///
    /// # Errors
    ///
    /// Why the lock is lost.
    pub fn check(&self) -> Result<(), Lost> {
        self.lock().check()
    }

    /// Waits at most `timeout` for the lock to be lost, and returns why; `None` if it is still held.
    pub fn lost_within(&self, timeout: Duration) -> Option<Lost> {
        wait(async { tokio::time::timeout(timeout, self.lock().lost()).await.ok() })
    }

    /// Releases a part of the lock. See [`crate::Lock::shrink`].
    ///
    /// # Errors
    ///
    /// As [`crate::Lock::shrink`].
    pub fn shrink(&mut self, count: u64) -> Result<(), LockError> {
        wait(self.lock_mut().shrink(count))
    }

    /// Releases the lock, and returns when the server has confirmed that. See [`crate::Lock::release`].
    ///
    /// # Errors
    ///
    /// Why the lock was lost, if it was.
    pub fn release(mut self) -> Result<(), Lost> {
        self.lock.take().map_or(Ok(()), |lock| wait(lock.release()))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            wait_briefly(lock.release());
        }
    }
}

/// Blocks the thread until `future` is done, but at most [`CLOSE_TIMEOUT`]. Then its work continues in the
/// background. Within an async task this does not block at all.
fn wait_briefly(future: impl Future) {
    if Handle::try_current().is_ok() {
        return drop(future);
    }
    let _ = wait(async { tokio::time::timeout(CLOSE_TIMEOUT, future).await });
}

/// The runtime of all blocking peers. It is never shut down.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("throttle-client").enable_all();
        builder.build().expect("the system can start a thread")
    })
}
