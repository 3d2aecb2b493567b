//! A service that is broken says so and serves nobody, for one that may grant twice is worse than none.

use tokio::sync::watch;

/// What broke a service. It does not recover: start another one, in a new process if you can.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// An operation panicked, or the observer within it, so nobody knows what state it left behind.
    /// Open waits end, and no later operation does anything.
    #[error("an operation on the semaphores panicked")]
    Operation,
    /// The task that ends leases punctually is gone.
    #[error("the task that ends leases is gone")]
    Timer,
}

/// Tells of the failure that comes first.
#[derive(Debug)]
pub(crate) struct Failures(watch::Sender<Option<Failure>>);

impl Failures {
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
