//! Those who hear of everything that happens.

use std::fmt;

use throttle_core::{Event, SemaphoreId};

/// Hears of everything that happens, in the order in which it happens.
///
/// It is called within the critical section of the operation that caused it, so it must be quick and
/// must not block. If it panics, the service has [failed](crate::Handle::failed).
pub trait Observer: Send + 'static {
    /// A semaphore is there now; events will name it by `id`.
    fn semaphore_added(&mut self, id: SemaphoreId, name: &str);

    /// A semaphore is no more; `id` will not be used again.
    fn semaphore_removed(&mut self, id: SemaphoreId);

    /// Something happened.
    fn event(&mut self, event: &Event);
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// Does not listen.
#[derive(Debug)]
pub(crate) struct NoopObserver;

impl Observer for NoopObserver {
    fn semaphore_added(&mut self, _: SemaphoreId, _: &str) {}

    fn semaphore_removed(&mut self, _: SemaphoreId) {}

    fn event(&mut self, _: &Event) {}
}
