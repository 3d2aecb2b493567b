//! The failure of a service. A failed service answers nothing but errors, because a service that may grant
//! a lock twice is worse than none. `service` notices that an operation panicked, `timer` that the timer ended.

use tokio::sync::watch;

/// Why a service failed. It does not recover: start another one, in a new process if possible.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// An operation or the observer panicked, so the state may be inconsistent. Open waits end, and later
    /// operations do nothing.
    #[error("an operation on the semaphores panicked")]
    Operation,
    /// The store failed or panicked, so nothing can be made durable any more. Requests that wait for that, and
    /// all later ones, end with [`Error::StoreFailed`](crate::Error::StoreFailed).
    #[error("the store has failed")]
    Store,
    /// The timer task, which ends leases at their deadlines, has ended.
    #[error("the task that ends leases is gone")]
    Timer,
}

/// The first failure, if there was one.
#[derive(Debug)]
pub(crate) struct FirstFailure(watch::Sender<Option<Failure>>);

impl FirstFailure {
    pub(crate) fn none() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Failure>> {
        self.0.subscribe()
    }

    pub(crate) fn borrow(&self) -> watch::Ref<'_, Option<Failure>> {
        self.0.borrow()
    }

    pub(crate) fn add(&self, failure: Failure) {
        self.0.send_if_modified(|first| first.replace(first.unwrap_or(failure)).is_none());
    }
}
