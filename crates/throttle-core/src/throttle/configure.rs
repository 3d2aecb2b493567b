//! Operations that add and resize semaphores. How they are removed, and change their level, is in `retirement`.

use super::Throttle;
use crate::{Count, Error, Event, Level, SemaphoreId, Time, semaphore::Semaphore};

impl Throttle {
    /// Adds a semaphore without holders or waiters.
    ///
    /// # Panics
    ///
    /// After four billion additions.
    pub fn add_semaphore(&mut self, now: Time, max: Count, level: Level) -> SemaphoreId {
        self.advance(now);
        let id = u32::try_from(self.semaphores.len()).expect("ids of semaphores have 32 bits");
        let mut semaphore = Semaphore::new(max, level, self.last_token);
        semaphore.suspend(self.are_grants_suspended());
        self.semaphores.push(Some(semaphore));
        SemaphoreId(id)
    }

    /// The ids of the semaphores that will be added next, in order.
    pub fn next_semaphore_ids(&self) -> impl Iterator<Item = SemaphoreId> + use<> {
        let first = u32::try_from(self.semaphores.len()).unwrap_or(u32::MAX);
        (first..=u32::MAX).map(SemaphoreId)
    }

    /// Changes the maximum of a semaphore.
    ///
    /// A raised maximum serves the queue at once. A lowered one revokes nothing; new locks are granted
    /// once enough was released. Pending locks that exceed the new maximum are cancelled, because they
    /// could never be granted. Finding them costs O(n) in the number of waiters.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`], also if it is [retired](Self::remove_semaphore).
    pub fn resize(&mut self, now: Time, id: SemaphoreId, max: Count) -> Result<(), Error> {
        self.advance(now);
        let from = self.configured_semaphore(id)?.max();
        if max == from {
            return Ok(());
        }
        self.semaphore_mut(id).resize(max);
        self.events.push_back(Event::Resized { semaphore: id, from, to: max });
        if max < from {
            self.cancel_too_large(id);
        }
        self.serve(id);
        self.carry_out_deferred(id);
        Ok(())
    }

    /// Whether a semaphore is held or awaited. O(1).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    pub fn is_in_use(&self, id: SemaphoreId) -> Result<bool, Error> {
        Ok(self.semaphore(id)?.is_in_use())
    }
}
