//! Operations that add, resize and remove semaphores.

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
    /// [`Error::UnknownSemaphore`]
    pub fn resize(&mut self, now: Time, id: SemaphoreId, max: Count) -> Result<(), Error> {
        self.advance(now);
        let from = self.semaphore(id)?.max();
        if max == from {
            return Ok(());
        }
        self.semaphore_mut(id).resize(max);
        self.events.push_back(Event::Resized { semaphore: id, from, to: max });
        if max < from {
            self.cancel_too_large(id);
        }
        self.serve(id);
        Ok(())
    }

    /// Changes the place of an unused semaphore in the lock hierarchy.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownSemaphore`]
    /// - [`Error::SemaphoreInUse`] while it is held or awaited: peers that took their locks in the old
    ///   order could wait for each other forever.
    pub fn set_level(&mut self, now: Time, id: SemaphoreId, level: Level) -> Result<(), Error> {
        self.advance(now);
        self.check_unused(id)?;
        self.semaphore_mut(id).level = level;
        Ok(())
    }

    /// Removes an unused semaphore. Its id is never reused.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownSemaphore`]
    /// - [`Error::SemaphoreInUse`] while it is held or awaited.
    pub fn remove_semaphore(&mut self, now: Time, id: SemaphoreId) -> Result<(), Error> {
        self.advance(now);
        self.check_unused(id)?;
        // A semaphore that is added later may guard the same resource.
        self.last_token = self.last_token.max(self.semaphore(id)?.last_token());
        self.semaphores[id.index()] = None;
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

    fn check_unused(&self, id: SemaphoreId) -> Result<(), Error> {
        if self.is_in_use(id)? { Err(Error::SemaphoreInUse) } else { Ok(()) }
    }
}
