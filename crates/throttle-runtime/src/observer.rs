//! The observer, which is called with every event.

use std::fmt;

use throttle_core::{Event, SemaphoreId};

/// Receives every event, in the order in which the events happen.
///
/// It is called inside the critical section of the operation that caused the event, so it must be quick and
/// must not block. If it panics, the service has [failed](crate::Handle::failed).
///
/// With a store, an event comes before the change is durable. It may be counted, but nobody should be shown it as a
/// fact.
pub trait Observer: Send + 'static {
    /// A semaphore was added. Events refer to it by `id`.
    fn semaphore_added(&mut self, id: SemaphoreId, name: &str);

    /// A semaphore was removed. Its `id` is never used again.
    fn semaphore_removed(&mut self, id: SemaphoreId);

    /// An event happened.
    fn event(&mut self, event: &Event);
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// Ignores every event.
#[derive(Debug)]
pub(crate) struct NoopObserver;

impl Observer for NoopObserver {
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, _: SemaphoreId) {}

    fn event(&mut self, _: &Event) {}
}
