//! Changes that wait until a semaphore is unused: its removal, and another level.
//!
//! Peers that took their locks in the order of the old levels could wait for each other forever under new ones,
//! and a holder of a semaphore that is gone still uses the resource. So a semaphore in use keeps its level
//! until it is unused, and one that is to be removed is *retired*: its holders keep their locks, but nobody
//! gets new ones.
//!
//! Invariant: nothing is deferred at an unused semaphore, and a retired one has no waiters.

use super::Throttle;
use crate::{
    CancelCause, Count, Error, Event, Level, PeerId, SemaphoreId, Time,
    semaphore::{Deferred, Semaphore, WaiterEntry},
};

impl Throttle {
    /// Changes the place of a semaphore in the lock hierarchy. Returns whether the level is in force.
    ///
    /// If the semaphore is held or awaited, the change is deferred until it is unused;
    /// [`Event::LevelChanged`] reports it then. The latest level counts.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`], also if it is [retired](Self::remove_semaphore).
    pub fn set_level(&mut self, now: Time, id: SemaphoreId, level: Level) -> Result<bool, Error> {
        self.advance(now);
        self.configured_semaphore(id)?;
        let semaphore = self.semaphore_mut(id);
        if semaphore.is_in_use() && semaphore.level != level {
            semaphore.defer(Some(Deferred::Level(level)));
            return Ok(false);
        }
        semaphore.level = level;
        semaphore.defer(None);
        Ok(true)
    }

    /// Removes a semaphore. Returns whether it is gone. Its id is never reused.
    ///
    /// If it is held or awaited, it is *retired*. Its pending locks are cancelled. Its holders keep their
    /// locks, and may repeat, shrink and release them, but nobody is granted it, and other requests for it are
    /// refused. When nobody holds it any more, it is removed, which [`Event::SemaphoreRemoved`] reports.
    /// Removing a retired semaphore changes nothing. O(n) in the number of waiters.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    pub fn remove_semaphore(&mut self, now: Time, id: SemaphoreId) -> Result<bool, Error> {
        self.advance(now);
        if self.semaphore(id)?.is_in_use() {
            self.retire(id);
            return Ok(false);
        }
        self.discard(id);
        Ok(true)
    }

    /// Makes a retired semaphore an ordinary one again, with this maximum and level. Returns whether the level
    /// is in force; if not, it is deferred as by [`set_level`](Self::set_level).
    ///
    /// A semaphore that is not retired is only changed.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    pub fn reinstate_semaphore(
        &mut self,
        now: Time,
        id: SemaphoreId,
        max: Count,
        level: Level,
    ) -> Result<bool, Error> {
        self.advance(now);
        if self.semaphore(id)?.is_retired() {
            self.semaphore_mut(id).defer(None);
        }
        self.resize(now, id, max)?;
        self.set_level(now, id, level)
    }

    /// Whether the semaphore is [retired](Self::remove_semaphore). O(1).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    pub fn is_retired(&self, id: SemaphoreId) -> Result<bool, Error> {
        Ok(self.semaphore(id)?.is_retired())
    }

    /// Retires a semaphore, and removes it if nobody holds it.
    pub(super) fn retire(&mut self, id: SemaphoreId) {
        let semaphore = self.semaphore_mut(id);
        let waiters = semaphore.take_waiters();
        semaphore.defer(Some(Deferred::Removal));
        for (_, WaiterEntry { slot, .. }) in waiters {
            let peer = self.peers.get_mut(slot);
            let pending = peer.pending.take().expect("only pending peers wait");
            let peer = peer.id;
            self.emit_cancelled(peer, pending, CancelCause::SemaphoreRetired);
            self.renew_after_wait(slot, pending.wait);
        }
        self.carry_out_deferred(id);
    }

    /// Does what was deferred until the semaphore is unused, if it is. Called after the queue was served.
    pub(super) fn carry_out_deferred(&mut self, id: SemaphoreId) {
        if let Some(deferred) = self.semaphore_mut(id).deferred() {
            self.carry_out_if_unused(id, deferred);
        }
    }

    #[cold]
    fn carry_out_if_unused(&mut self, id: SemaphoreId, deferred: Deferred) {
        let semaphore = self.semaphore_mut(id);
        if semaphore.is_in_use() {
            return;
        }
        match deferred {
            Deferred::Level(level) => {
                semaphore.level = level;
                semaphore.defer(None);
                self.events.push_back(Event::LevelChanged { semaphore: id, level });
            }
            Deferred::Removal => {
                self.discard(id);
                self.events.push_back(Event::SemaphoreRemoved { semaphore: id });
            }
        }
    }

    /// Removes an unused semaphore.
    fn discard(&mut self, id: SemaphoreId) {
        // A semaphore that is added later may guard the same resource.
        self.last_token = self.last_token.max(self.semaphore_mut(id).last_token());
        self.semaphores[id.index()] = None;
    }

    /// A semaphore that exists and is not retired.
    pub(super) fn configured_semaphore(&self, id: SemaphoreId) -> Result<&Semaphore, Error> {
        let semaphore = self.semaphore(id)?;
        if semaphore.is_retired() { Err(Error::UnknownSemaphore) } else { Ok(semaphore) }
    }

    /// Checks that a peer holds a retired semaphore: to all others it is gone.
    #[cold]
    pub(super) fn check_holder(&self, peer: PeerId, semaphore: SemaphoreId) -> Result<(), Error> {
        let held = self.peers.slot(peer).and_then(|slot| self.peers.get(slot).held(semaphore));
        held.map(drop).ok_or(Error::UnknownSemaphore)
    }
}
