//! One semaphore: its holders and its queue.
//!
//! The queue is first come, first served. Each request draws a [`Ticket`]; tickets only grow, so
//! their order is the order of arrival. A tree keyed by ticket lets a cancelled waiter leave from the
//! middle. Parked waiters are in a tree of their own, so that skipping them costs nothing; a waiter
//! that resumes gets its old place by its ticket.
//!
//! Invariants: `held` is the sum of the counts of the holders; `pending` is that of all waiters, parked
//! ones included. A peer is in at most one queue of all semaphores, at most once. A semaphore never
//! reads a peer: callers pass in what it needs.

use alloc::{collections::BTreeMap, vec::Vec};
use core::mem;

use crate::{Count, FencingToken, Level, Ticket, Time, peers::Slot};

/// What the queue stores of a waiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaiterEntry {
    pub(crate) slot: Slot,
    pub(crate) count: Count,
}

/// What the semaphore stores of a holder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HolderEntry {
    pub(crate) slot: Slot,
    /// A copy of what the peer stores, where finding it would take a search through its locks.
    pub(crate) since: Time,
}

/// Finds the entry of a peer at a semaphore.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EntryKey {
    Holder(FencingToken),
    Waiter(Ticket),
    /// It is removed already.
    Removed,
}

/// What happens to a semaphore once nobody holds or awaits it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Deferred {
    /// It gets this level.
    Level(Level),
    /// It is removed. Until then it is *retired*: nobody is granted it, and nobody waits for it.
    Removal,
}

/// State of one semaphore.
#[derive(Debug)]
pub(crate) struct Semaphore {
    max: Count,
    /// How much may be held after a grant: the maximum, or zero while nothing is granted.
    capacity: u64,
    is_suspended: bool,
    pub(crate) level: Level,
    /// Only while it is in use.
    deferred: Option<Deferred>,
    /// The last token issued, or the one before the first.
    last_token: FencingToken,
    held: u64,
    /// Wider than a count: many waiters may each ask for [`Count::MAX`].
    pending: u128,
    holders: BTreeMap<FencingToken, HolderEntry>,
    queue: BTreeMap<Ticket, WaiterEntry>,
    parked: BTreeMap<Ticket, WaiterEntry>,
}

impl Semaphore {
    /// A free semaphore. Its tokens will be greater than `last_token`.
    pub(crate) fn new(max: Count, level: Level, last_token: FencingToken) -> Self {
        Self {
            max,
            capacity: max.get(),
            is_suspended: false,
            level,
            deferred: None,
            last_token,
            held: 0,
            pending: 0,
            holders: BTreeMap::new(),
            queue: BTreeMap::new(),
            parked: BTreeMap::new(),
        }
    }

    /// The full count.
    pub(crate) fn max(&self) -> Count {
        self.max
    }

    /// Changes the full count. Does not serve the queue.
    pub(crate) fn resize(&mut self, max: Count) {
        self.max = max;
        self.update_capacity();
    }

    /// Whether grants are suspended.
    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// Suspends or resumes grants. Does not serve the queue.
    pub(crate) fn suspend(&mut self, is_suspended: bool) {
        self.is_suspended = is_suspended;
        self.update_capacity();
    }

    /// What happens once it is unused.
    pub(crate) fn deferred(&self) -> Option<Deferred> {
        self.deferred
    }

    pub(crate) fn is_retired(&self) -> bool {
        matches!(self.deferred, Some(Deferred::Removal))
    }

    /// Replaces what happens once it is unused. A semaphore that is retired must have no waiters.
    pub(crate) fn defer(&mut self, deferred: Option<Deferred>) {
        self.deferred = deferred;
        self.update_capacity();
    }

    fn update_capacity(&mut self) {
        let grants = !self.is_suspended && !self.is_retired();
        self.capacity = if grants { self.max.get() } else { 0 };
    }

    /// Sum of the counts held.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Sum of the counts awaited.
    pub(crate) fn pending(&self) -> u128 {
        self.pending
    }

    pub(crate) fn last_token(&self) -> FencingToken {
        self.last_token
    }

    pub(crate) fn is_in_use(&self) -> bool {
        !self.holders.is_empty() || self.waiters_len() > 0
    }

    /// Whether a release has consequences: a waiter, not counting parked ones, may be granted its lock, or what
    /// was deferred happens.
    pub(crate) fn awaits_release(&self) -> bool {
        !self.queue.is_empty() || self.deferred.is_some()
    }

    pub(crate) fn holders_len(&self) -> usize {
        self.holders.len()
    }

    pub(crate) fn waiters_len(&self) -> usize {
        self.queue.len() + self.parked.len()
    }

    /// Whether a new request for `count` is granted at once: it fits, and overtakes no waiter.
    pub(crate) fn grants_at_once(&self, count: Count) -> bool {
        self.queue.is_empty() && self.has_room_for(count)
    }

    /// Removes and returns the head of the queue if it fits.
    pub(crate) fn pop_next(&mut self) -> Option<WaiterEntry> {
        let (_, &head) = self.queue.first_key_value()?;
        if !self.has_room_for(head.count) {
            return None;
        }
        self.queue.pop_first();
        self.pending -= u128::from(head.count.get());
        Some(head)
    }

    /// Makes `slot` a holder of `count` from now on, and issues its token.
    pub(crate) fn grant(&mut self, slot: Slot, count: Count, now: Time) -> FencingToken {
        // Cannot overflow: see `Throttle::with_token_floor`.
        self.last_token = FencingToken(self.last_token.0 + 1);
        self.held += count.get();
        self.holders.insert(self.last_token, HolderEntry { slot, since: now });
        self.last_token
    }

    /// Adds the counts of holders and waiters whose entries are [recovered](Self::recover_entries) later.
    pub(crate) fn add_recovered(&mut self, held: u64, pending: u64) {
        self.held += held;
        self.pending += u128::from(pending);
    }

    /// Gives a semaphore without entries those of the peers that held and awaited it before.
    ///
    /// All at once, in their order, costs much less than one after the other in an arbitrary order.
    pub(crate) fn recover_entries(
        &mut self,
        holders: impl Iterator<Item = (FencingToken, HolderEntry)>,
        waiters: impl Iterator<Item = (Ticket, WaiterEntry)>,
    ) {
        (self.holders, self.queue) = (holders.collect(), waiters.collect());
    }

    /// Makes all tokens from now on greater than this one.
    pub(crate) fn raise_last_token(&mut self, token: FencingToken) {
        self.last_token = self.last_token.max(token);
    }

    /// Removes the holder with this token. Returns whether anything is deferred until the semaphore is unused.
    pub(crate) fn release(&mut self, token: FencingToken, count: Count) -> bool {
        self.subtract_held(count);
        self.holders.remove(&token);
        self.deferred.is_some()
    }

    /// Subtracts the count of a holder whose entry is [removed](Self::remove_entries) next.
    pub(crate) fn subtract_held(&mut self, count: Count) {
        self.held -= count.get();
    }

    /// Reduces the count of a holder.
    pub(crate) fn shrink_held(&mut self, from: Count, to: Count) {
        self.held -= from.get() - to.get();
    }

    /// Adds a waiter to the queue, at the place of its ticket.
    pub(crate) fn enqueue(&mut self, ticket: Ticket, waiter: WaiterEntry) {
        self.pending += u128::from(waiter.count.get());
        self.queue.insert(ticket, waiter);
    }

    /// Reduces the count of a waiter, which must not be parked. It keeps its place.
    pub(crate) fn shrink_waiter(&mut self, ticket: Ticket, to: Count) {
        let waiter = self.queue.get_mut(&ticket).expect("a pending peer is in the queue");
        self.pending -= u128::from(waiter.count.get() - to.get());
        waiter.count = to;
    }

    /// Moves a waiter from the queue to the parked ones.
    pub(crate) fn park(&mut self, ticket: Ticket) {
        let waiter = self.queue.remove(&ticket).expect("a pending peer is in the queue");
        self.parked.insert(ticket, waiter);
    }

    /// Moves a parked waiter back to its place in the queue.
    pub(crate) fn resume(&mut self, ticket: Ticket) {
        let waiter =
            self.parked.remove(&ticket).expect("a parked peer is among the parked waiters");
        self.queue.insert(ticket, waiter);
    }

    /// Removes all waiters, parked or not. Returns them in the order of their arrival.
    pub(crate) fn take_waiters(&mut self) -> Vec<(Ticket, WaiterEntry)> {
        self.pending = 0;
        let (queue, parked) = (mem::take(&mut self.queue), mem::take(&mut self.parked));
        let mut waiters: Vec<_> = queue.into_iter().chain(parked).collect();
        waiters.sort_by_key(|&(ticket, _)| ticket);
        waiters
    }

    /// Removes a waiter, parked or not.
    pub(crate) fn dequeue(&mut self, ticket: Ticket) {
        let waiter = self.queue.remove(&ticket).or_else(|| self.parked.remove(&ticket));
        let waiter = waiter.expect("a pending peer is in the queue or parked");
        self.subtract_pending(waiter.count);
    }

    /// Subtracts the count of a waiter whose entry is [removed](Self::remove_entries) next.
    pub(crate) fn subtract_pending(&mut self, count: Count) {
        self.pending -= u128::from(count.get());
    }

    /// Removes the entries with these keys, which must be exactly those whose slots fail `stays`, but for those
    /// that are removed already.
    ///
    /// For a few entries O(log n) each; for many, one pass over all of them.
    pub(crate) fn remove_entries(
        &mut self,
        keys: impl ExactSizeIterator<Item = EntryKey>,
        stays: impl Fn(Slot) -> bool,
    ) {
        let entries = self.holders.len() + self.waiters_len();
        if keys.len() > 1 && entries / keys.len() < STEPS_PER_LOOKUP {
            retain(&mut self.holders, |holder| stays(holder.slot));
            retain(&mut self.queue, |waiter| stays(waiter.slot));
            retain(&mut self.parked, |waiter| stays(waiter.slot));
            return;
        }
        for key in keys {
            match key {
                EntryKey::Removed => {}
                EntryKey::Holder(token) => drop(self.holders.remove(&token)),
                EntryKey::Waiter(ticket) => {
                    let waiter = self.queue.remove(&ticket).or_else(|| self.parked.remove(&ticket));
                    debug_assert!(waiter.is_some(), "a pending peer is in the queue or parked");
                }
            }
        }
    }

    /// The waiter that arrived first, parked or not.
    pub(crate) fn longest_waiting(&self) -> Option<Slot> {
        self.waiters_after(None).next().map(|(_, waiter)| waiter.slot)
    }

    /// When the oldest of the held locks was granted.
    pub(crate) fn first_held_since(&self) -> Option<Time> {
        self.holders.first_key_value().map(|(_, holder)| holder.since)
    }

    /// The holder with this token.
    pub(crate) fn holder(&self, token: FencingToken) -> Option<Slot> {
        self.holders.get(&token).map(|holder| holder.slot)
    }

    /// The holders after `after`, in the order of their grants.
    pub(crate) fn holders_after(
        &self,
        after: Option<FencingToken>,
    ) -> impl Iterator<Item = (FencingToken, Slot)> {
        let from = after.map_or(FencingToken(0), |token| FencingToken(token.0 + 1));
        self.holders.range(from..).map(|(&token, holder)| (token, holder.slot))
    }

    /// All waiters after `after`, in the order of their arrival.
    pub(crate) fn waiters_after(
        &self,
        after: Option<Ticket>,
    ) -> impl Iterator<Item = (Ticket, WaiterEntry)> {
        let from = after.map_or(Ticket(0), |ticket| Ticket(ticket.0 + 1));
        let mut queue = self.queue.range(from..).peekable();
        let mut parked = self.parked.range(from..).peekable();
        core::iter::from_fn(move || {
            let next = match (queue.peek(), parked.peek()) {
                (Some((queued, _)), Some((other, _))) if other < queued => parked.next(),
                (Some(_), _) => queue.next(),
                (None, _) => parked.next(),
            };
            next.map(|(&ticket, &waiter)| (ticket, waiter))
        })
    }

    /// The number of waiters before a ticket, not counting parked ones; at most `limit` are counted.
    pub(crate) fn queued_before(&self, ticket: Ticket, limit: usize) -> usize {
        self.queue.range(..ticket).take(limit).count()
    }

    /// Whether `count` more can be granted without exceeding the maximum.
    pub(crate) fn has_room_for(&self, count: Count) -> bool {
        self.held + count.get() <= self.capacity
    }
}

/// Rebuilds a map from the entries that stay.
///
/// [`BTreeMap::retain`] removes one entry at a time, which costs three times as much if few stay.
fn retain<K: Ord, V>(map: &mut BTreeMap<K, V>, stays: impl Fn(&V) -> bool) {
    *map = mem::take(map).into_iter().filter(|(_, value)| stays(value)).collect();
}

/// How many entries a pass visits in the time of one lookup. Measured; it need not be exact.
const STEPS_PER_LOOKUP: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_entries_of_removed_peers_are_removed() {
        for step in [1, 2, 15, 16, 17, 90, 300] {
            let (mut semaphore, entries) = crowded();
            let removed: Vec<_> = entries.iter().copied().step_by(step).collect();
            let stays = |slot: Slot| !slot.index().is_multiple_of(step);
            semaphore.remove_entries(removed.iter().map(|&(_, key)| key), stays);
            let expected: Vec<_> =
                entries.iter().map(|&(slot, _)| slot).filter(|&slot| stays(slot)).collect();
            let holders = semaphore.holders_after(None).map(|(_, slot)| slot);
            let waiters = semaphore.waiters_after(None).map(|(_, waiter)| waiter.slot);
            let left: Vec<_> = holders.chain(waiters).collect();
            assert_eq!(left, expected, "every {step}th was removed");
        }
    }

    #[test]
    fn all_waiters_are_taken_in_the_order_of_their_arrival() {
        let (mut semaphore, _) = crowded();
        [100, 120, 199].into_iter().for_each(|ticket| semaphore.park(Ticket(ticket)));
        [200, 250].into_iter().for_each(|ticket| semaphore.resume(Ticket(ticket)));
        let taken = semaphore.take_waiters().into_iter().map(|(ticket, _)| ticket.0);
        assert!(taken.eq(100..300));
        assert_eq!((semaphore.waiters_len(), semaphore.pending()), (0, 0));
        assert_eq!((semaphore.holders_len(), semaphore.held()), (100, 100));
    }

    /// A semaphore with a hundred holders, a hundred waiters in the queue and a hundred parked ones, in the
    /// order of their slots.
    fn crowded() -> (Semaphore, Vec<(Slot, EntryKey)>) {
        let mut semaphore = Semaphore::new(Count::ONE, Level(0), FencingToken(0));
        let entries = (0..300).map(|index| {
            let slot = Slot::new(index);
            if index < 100 {
                return (slot, EntryKey::Holder(semaphore.grant(slot, Count::ONE, Time::ZERO)));
            }
            let ticket = Ticket(index as u64);
            semaphore.enqueue(ticket, WaiterEntry { slot, count: Count::ONE });
            if index >= 200 {
                semaphore.park(ticket);
            }
            (slot, EntryKey::Waiter(ticket))
        });
        let entries = entries.collect();
        (semaphore, entries)
    }
}
