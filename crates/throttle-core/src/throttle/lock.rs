//! Operations that acquire, shrink and release locks.

use core::{cmp::Ordering, time::Duration};

use super::Throttle;
use crate::{
    CancelCause, Count, Error, Event, FencingToken, Level, PeerId, SemaphoreId, Sequence, Ticket,
    Time,
    peers::{Held, Pending, Slot},
};

/// What a peer asks for. A pair of semaphore and count is the plain form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockRequest {
    /// The semaphore.
    pub semaphore: SemaphoreId,
    /// How many permits.
    pub count: Count,
    /// Renews the lease with this length first, even if the lock is then refused.
    pub expires_in: Option<Duration>,
    /// Whether the request stays open until the lock is granted. An open request proves that the peer is
    /// alive: the lease stands still while the lock is pending and is renewed with the answer. Each such
    /// request that was [queued](Admission::Queued) ends by a grant, a cancellation,
    /// [`Throttle::end_wait`] or [`Throttle::park`].
    pub attended: bool,
    /// The sequence number, if the client numbers its requests.
    pub sequence: Option<Sequence>,
}

impl From<(SemaphoreId, Count)> for LockRequest {
    fn from((semaphore, count): (SemaphoreId, Count)) -> Self {
        Self { semaphore, count, expires_in: None, attended: false, sequence: None }
    }
}

impl TryFrom<i64> for Count {
    type Error = Error;

    /// # Errors
    ///
    /// [`Error::InvalidLockCount`] for zero and below, [`Error::LockCountTooLarge`] above
    /// [`Count::MAX`].
    fn try_from(count: i64) -> Result<Self, Error> {
        match u64::try_from(count) {
            Ok(0) | Err(_) => Err(Error::InvalidLockCount { found: count }),
            Ok(count) => Self::new(count).ok_or(Error::LockCountTooLarge),
        }
    }
}

/// The outcome of asking for a lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// The lock is held.
    Granted {
        /// The count held.
        count: Count,
        /// Grows with each grant of this semaphore, and stays the same while the lock is held.
        token: FencingToken,
    },
    /// The lock is pending. [`Event::Granted`] reports when it is held, and with which count.
    Queued {
        /// The count pending.
        count: Count,
        /// Orders the queue by arrival, and identifies the wait.
        ticket: Ticket,
    },
}

impl Admission {
    /// Whether the lock is held.
    pub const fn is_granted(self) -> bool {
        matches!(self, Self::Granted { .. })
    }
}

/// What a release did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Release {
    /// The lock was pending, and is cancelled.
    Cancelled,
    /// The peer had no lock on this semaphore.
    Nothing,
    /// The lock was held, and is free now.
    Released,
}

impl Throttle {
    /// Asks for a lock on behalf of `peer`.
    ///
    /// The lock is granted at once if the count fits and no waiter is in the queue; otherwise the peer
    /// joins the end of the queue. Asking again for the same count changes nothing and returns the
    /// current state, so it is safe to retry; it gives a parked waiter its place back. Asking for a
    /// smaller count shrinks the lock, held or pending, and keeps the place. O(log n), and O(log n) for
    /// each grant that a shrunk lock makes possible.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownSemaphore`], also if it is [retired](Self::remove_semaphore) and the peer does not hold it.
    /// - [`Error::UnknownPeer`]
    /// - [`Error::StaleRequest`] if a request of the peer with a higher number came before.
    /// - [`Error::NeverAcquirable`] if the count exceeds the maximum.
    /// - [`Error::AlreadyPending`] if the peer waits for another semaphore, or for less of this one.
    /// - [`Error::LockHierarchyViolation`] unless the semaphore's level is below every level the peer
    ///   holds, and if the peer holds less of this semaphore.
    /// - [`Error::TooManyWaiters`] if the queue is full.
    pub fn acquire(
        &mut self,
        now: Time,
        peer: PeerId,
        request: impl Into<LockRequest>,
    ) -> Result<Admission, Error> {
        self.advance(now);
        let request = request.into();
        let semaphore = self.semaphore(request.semaphore)?;
        if semaphore.is_retired() {
            self.check_holder(peer, request.semaphore)?;
        }
        let slot = self.accept_sequence(peer, request.sequence)?;
        if let Some(expires_in) = request.expires_in {
            self.renew_with(slot, expires_in);
        }
        let entry = self.peers.get(slot);
        let admission = match (entry.held(request.semaphore).copied(), entry.pending) {
            (Some(held), _) => self.acquire_held(slot, held, request.count)?,
            (None, Some(pending)) => {
                self.acquire_pending(slot, pending, request.semaphore, request.count)?
            }
            (None, None) => self.acquire_new(slot, request.semaphore, request.count)?,
        };
        if request.attended {
            self.attend(slot, admission);
        }
        Ok(admission)
    }

    /// Releases the held lock, or cancels the pending lock, of `peer` on this semaphore, and serves the
    /// queue. O(log n), and O(log n) for each grant that follows.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownSemaphore`], [`Error::UnknownPeer`]
    /// - [`Error::StaleRequest`] if a request of the peer with a higher number came before.
    pub fn release(
        &mut self,
        now: Time,
        peer: PeerId,
        semaphore: SemaphoreId,
        sequence: Option<Sequence>,
    ) -> Result<Release, Error> {
        self.advance(now);
        self.semaphore(semaphore)?;
        let slot = self.accept_sequence(peer, sequence)?;
        let entry = self.peers.get_mut(slot);
        let (released, is_deferred) =
            if let Some(at) = entry.held.iter().position(|lock| lock.semaphore == semaphore) {
                let lock = entry.held.remove(at);
                let is_deferred = self.semaphore_mut(semaphore).release(lock.token, lock.count);
                self.events.push_back(Event::Released {
                    peer,
                    semaphore,
                    count: lock.count,
                    token: lock.token,
                    held: self.now - lock.since,
                });
                (Release::Released, is_deferred)
            } else if entry.pending.is_some_and(|pending| pending.semaphore == semaphore) {
                self.cancel(slot, CancelCause::Withdrawn);
                (Release::Cancelled, true)
            } else {
                return Ok(Release::Nothing);
            };
        self.serve(semaphore);
        if is_deferred {
            self.carry_out_deferred(semaphore);
        }
        Ok(released)
    }

    /// The peer already holds this semaphore.
    fn acquire_held(&mut self, slot: Slot, held: Held, count: Count) -> Result<Admission, Error> {
        match count.cmp(&held.count) {
            Ordering::Equal => {}
            Ordering::Less => self.shrink_held(slot, held, count),
            Ordering::Greater => {
                let semaphore = self.semaphore(held.semaphore)?;
                check_acquirable(count, semaphore.max())?;
                self.check_hierarchy(slot, semaphore.level)?;
            }
        }
        Ok(Admission::Granted { count, token: held.token })
    }

    /// The peer already waits, for this semaphore or for another one.
    fn acquire_pending(
        &mut self,
        slot: Slot,
        pending: Pending,
        semaphore: SemaphoreId,
        count: Count,
    ) -> Result<Admission, Error> {
        check_acquirable(count, self.semaphore(semaphore)?.max())?;
        if pending.semaphore != semaphore || count > pending.count {
            return Err(Error::AlreadyPending);
        }
        self.resume(slot);
        if count < pending.count {
            self.shrink_pending(slot, pending, count);
        }
        self.serve(semaphore);
        Ok(match self.peers.get(slot).held(semaphore) {
            Some(held) => Admission::Granted { count: held.count, token: held.token },
            None => Admission::Queued { count, ticket: pending.ticket },
        })
    }

    /// The peer neither holds this semaphore nor waits for any.
    fn acquire_new(
        &mut self,
        slot: Slot,
        semaphore: SemaphoreId,
        count: Count,
    ) -> Result<Admission, Error> {
        let entry = self.semaphore(semaphore)?;
        check_acquirable(count, entry.max())?;
        self.check_hierarchy(slot, entry.level)?;
        if entry.grants_at_once(count) {
            let token = self.grant(slot, semaphore, count, Some(Duration::ZERO));
            return Ok(Admission::Granted { count, token });
        }
        let limit = self.settings.max_waiters;
        if entry.waiters_len() >= limit as usize {
            return Err(Error::TooManyWaiters { limit });
        }
        Ok(Admission::Queued { count, ticket: self.enqueue(slot, semaphore, count) })
    }

    /// Locks are taken in strictly descending order of their levels, so peers cannot wait for each other
    /// in a circle.
    fn check_hierarchy(&self, slot: Slot, requested: Level) -> Result<(), Error> {
        let held = self.peers.get(slot).held.iter();
        let levels = held.filter_map(|lock| Some(self.semaphore(lock.semaphore).ok()?.level));
        match levels.min() {
            Some(current) if current <= requested => {
                Err(Error::LockHierarchyViolation { current, requested })
            }
            _ => Ok(()),
        }
    }

    fn shrink_held(&mut self, slot: Slot, held: Held, to: Count) {
        self.semaphore_mut(held.semaphore).shrink_held(held.count, to);
        let peer = self.peers.get_mut(slot);
        let lock = peer.held.iter_mut().find(|lock| lock.semaphore == held.semaphore);
        lock.expect("the caller has just found the lock").count = to;
        self.emit_shrunk(slot, held.semaphore, held.count, to);
        self.serve(held.semaphore);
    }

    fn shrink_pending(&mut self, slot: Slot, pending: Pending, to: Count) {
        self.semaphore_mut(pending.semaphore).shrink_waiter(pending.ticket, to);
        let lock = self.peers.get_mut(slot).pending.as_mut();
        lock.expect("the caller has just found the lock").count = to;
        self.emit_shrunk(slot, pending.semaphore, pending.count, to);
    }

    fn emit_shrunk(&mut self, slot: Slot, semaphore: SemaphoreId, from: Count, to: Count) {
        let peer = self.peers.get(slot).id;
        self.events.push_back(Event::Shrunk { peer, semaphore, from, to });
    }
}

fn check_acquirable(count: Count, max: Count) -> Result<(), Error> {
    if count <= max { Ok(()) } else { Err(Error::NeverAcquirable { count, max }) }
}
