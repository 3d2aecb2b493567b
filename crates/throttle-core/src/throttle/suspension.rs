//! Suspended grants: for a time nothing new is granted, and everything else goes on.
//!
//! A server that remembers nothing begins like this: until the longest lease is over, peers that it does not
//! know may still hold their locks, and come back by a restore. Requests queue in their order meanwhile.

use super::Throttle;
use crate::{SemaphoreId, Time};

impl Throttle {
    /// From now on no lock is granted, not even at once, until the grants are [resumed](Self::resume_grants).
    ///
    /// Requests join the queues. Restores, heartbeats, releases and expiry go on as usual. O(n) in the number
    /// of semaphores.
    pub fn suspend_grants(&mut self, now: Time) {
        self.advance(now);
        self.suspended_from = Some(SemaphoreId(0));
        self.semaphores.iter_mut().flatten().for_each(|semaphore| semaphore.suspend(true));
    }

    /// Grants locks again, and serves all queues.
    ///
    /// O(n) in the number of semaphores, and O(log n) for each grant. An embedder whose steps must be short
    /// calls [`resume_some_grants`](Self::resume_some_grants).
    pub fn resume_grants(&mut self, now: Time) {
        self.resume_some_grants(now, u32::MAX);
    }

    /// Resumes the grants of one semaphore after the other, and stops soon after `budget` units of work.
    /// Returns whether some are still suspended.
    ///
    /// A unit is a semaphore or a grant. Each call makes progress, and operations may be applied in between.
    /// Repeating the call until it returns `false` resumes all grants.
    pub fn resume_some_grants(&mut self, now: Time, budget: u32) -> bool {
        self.advance(now);
        let mut budget = budget.max(1) as usize;
        while let Some(id) = self.suspended_from.filter(|_| budget > 0) {
            let Some(semaphore) = self.semaphores.get_mut(id.index()) else {
                self.suspended_from = None;
                break;
            };
            let mut grants = 0;
            if let Some(semaphore) = semaphore {
                semaphore.suspend(false);
                grants = self.serve_at_most(id, budget);
            }
            if grants < budget {
                self.suspended_from = Some(SemaphoreId(id.0 + 1));
            } else {
                // The next waiter may fit too.
                self.semaphore_mut(id).suspend(true);
            }
            budget = budget.saturating_sub(grants + 1);
        }
        self.are_grants_suspended()
    }

    /// Whether the grants of any semaphore are suspended. O(1).
    pub fn are_grants_suspended(&self) -> bool {
        self.suspended_from.is_some()
    }
}
