//! One semaphore: who holds it, and the queue in front of it.
//!
//! The queue is first come, first served. Each request draws a [`Ticket`]; tickets only grow, so
//! their order is the order of arrival. A tree keyed by ticket lets a peer that gives up leave from
//! the middle. Parked waiters stand aside in a tree of their own, so that passing over them costs
//! nothing, and return to their ticket.
//!
//! Invariants: `held` and `pending` are the sums of the counts of the holders and of all waiters,
//! parked ones included. A peer stands in at most one queue of all, at most once. A semaphore never
//! looks into a peer; what it needs to know of it is handed in.

use alloc::collections::BTreeMap;
use core::mem;

use crate::{Count, FencingToken, Level, Ticket, Time, peers::Slot};

/// A waiter as the queue sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaiterEntry {
    pub(crate) slot: Slot,
    pub(crate) count: Count,
}

/// A holder as the semaphore sees it.
#[derive(Clone, Copy, Debug)]
struct HolderEntry {
    slot: Slot,
    /// Known to the peer as well, which may hold very many locks to search for it.
    since: Time,
}

/// Finds the entry of a peer at a semaphore.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EntryKey {
    Holder(FencingToken),
    Waiter(Ticket),
}

/// State of one semaphore.
#[derive(Debug)]
pub(crate) struct Semaphore {
    pub(crate) max: Count,
    pub(crate) level: Level,
    /// The last token handed out, or the one before the first.
    last_token: FencingToken,
    held: u64,
    /// Wider than a count: many waiters may each ask for [`Count::MAX`].
    pending: u128,
    holders: BTreeMap<FencingToken, HolderEntry>,
    queue: BTreeMap<Ticket, WaiterEntry>,
    parked: BTreeMap<Ticket, WaiterEntry>,
}

impl Semaphore {
    /// A free semaphore whose tokens will all be greater than `last_token`.
    pub(crate) fn new(max: Count, level: Level, last_token: FencingToken) -> Self {
        Self {
            max,
            level,
            last_token,
            held: 0,
            pending: 0,
            holders: BTreeMap::new(),
            queue: BTreeMap::new(),
            parked: BTreeMap::new(),
        }
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

    /// Whether anybody stands in the queue, parked waiters aside.
    pub(crate) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn holders_len(&self) -> usize {
        self.holders.len()
    }

    pub(crate) fn waiters_len(&self) -> usize {
        self.queue.len() + self.parked.len()
    }

    /// Whether a newcomer with `count` is granted at once: there is room, and nobody to overtake.
    pub(crate) fn admits(&self, count: Count) -> bool {
        self.queue.is_empty() && self.has_room_for(count)
    }

    /// Takes the head of the queue out if there is room for it.
    pub(crate) fn pop_next(&mut self) -> Option<WaiterEntry> {
        let (_, &head) = self.queue.first_key_value()?;
        if !self.has_room_for(head.count) {
            return None;
        }
        self.queue.pop_first();
        self.pending -= u128::from(head.count.get());
        Some(head)
    }

    /// Makes `slot` a holder of `count` from now on, and hands out its token.
    pub(crate) fn grant(&mut self, slot: Slot, count: Count, now: Time) -> FencingToken {
        // Cannot run out: see `Throttle::minting_tokens_after`.
        self.last_token = FencingToken(self.last_token.0 + 1);
        self.held += count.get();
        self.holders.insert(self.last_token, HolderEntry { slot, since: now });
        self.last_token
    }

    /// Takes back what was granted under `token`.
    pub(crate) fn release(&mut self, token: FencingToken, count: Count) {
        self.give_back(count);
        self.holders.remove(&token);
    }

    /// Takes back the count of a holder whose place is cleared next.
    pub(crate) fn give_back(&mut self, count: Count) {
        self.held -= count.get();
    }

    /// Takes back a part of what was granted.
    pub(crate) fn shrink_held(&mut self, from: Count, to: Count) {
        self.held -= from.get() - to.get();
    }

    /// Puts a waiter into the queue. It stands where its ticket says.
    pub(crate) fn enqueue(&mut self, ticket: Ticket, waiter: WaiterEntry) {
        self.pending += u128::from(waiter.count.get());
        self.queue.insert(ticket, waiter);
    }

    /// Lets a waiter of the queue ask for less; it keeps its place.
    pub(crate) fn shrink_waiter(&mut self, ticket: Ticket, to: Count) {
        let waiter = self.queue.get_mut(&ticket).expect("a pending peer stands in the queue");
        self.pending -= u128::from(waiter.count.get() - to.get());
        waiter.count = to;
    }

    /// Sets a waiter of the queue aside.
    pub(crate) fn park(&mut self, ticket: Ticket) {
        let waiter = self.queue.remove(&ticket).expect("a pending peer stands in the queue");
        self.parked.insert(ticket, waiter);
    }

    /// Puts a waiter that was set aside back to where it stood.
    pub(crate) fn resume(&mut self, ticket: Ticket) {
        let waiter = self.parked.remove(&ticket).expect("a parked peer stands aside");
        self.queue.insert(ticket, waiter);
    }

    /// Takes a waiter out, parked or not.
    pub(crate) fn dequeue(&mut self, ticket: Ticket) {
        let waiter = self.queue.remove(&ticket).or_else(|| self.parked.remove(&ticket));
        let waiter = waiter.expect("a pending peer stands in the queue or aside");
        self.give_up(waiter.count);
    }

    /// Forgets the count of a waiter whose place is cleared next.
    pub(crate) fn give_up(&mut self, count: Count) {
        self.pending -= u128::from(count.get());
    }

    /// Clears `places`, which are all those here of peers that no longer live.
    ///
    /// Costs O(log n) for each of a few; if they are many, O(n) for all of them.
    pub(crate) fn clear(
        &mut self,
        places: impl ExactSizeIterator<Item = EntryKey>,
        lives: impl Fn(Slot) -> bool,
    ) {
        let here = self.holders.len() + self.waiters_len();
        if places.len() > 1 && here / places.len() < WORTH_A_WALK {
            keep(&mut self.holders, |holder| lives(holder.slot));
            keep(&mut self.queue, |waiter| lives(waiter.slot));
            keep(&mut self.parked, |waiter| lives(waiter.slot));
            return;
        }
        for place in places {
            match place {
                EntryKey::Holder(token) => drop(self.holders.remove(&token)),
                EntryKey::Waiter(ticket) => {
                    let waiter = self.queue.remove(&ticket).or_else(|| self.parked.remove(&ticket));
                    debug_assert!(waiter.is_some(), "a pending peer stands in the queue or aside");
                }
            }
        }
    }

    /// The waiter that came first of all, parked or not.
    pub(crate) fn longest_waiting(&self) -> Option<Slot> {
        self.waiters_after(None).next().map(|(_, waiter)| waiter.slot)
    }

    /// Since when the lock that was granted first has been held.
    pub(crate) fn first_held_since(&self) -> Option<Time> {
        self.holders.first_key_value().map(|(_, holder)| holder.since)
    }

    /// Holders in the order of their grants, from the one after `after` on.
    pub(crate) fn holders_after(
        &self,
        after: Option<FencingToken>,
    ) -> impl Iterator<Item = (FencingToken, Slot)> {
        let from = after.map_or(FencingToken(0), |token| FencingToken(token.0 + 1));
        self.holders.range(from..).map(|(&token, holder)| (token, holder.slot))
    }

    /// All waiters in the order of their arrival, from the one after `after` on.
    pub(crate) fn waiters_after(
        &self,
        after: Option<Ticket>,
    ) -> impl Iterator<Item = (Ticket, WaiterEntry)> {
        let from = after.map_or(Ticket(0), |ticket| Ticket(ticket.0 + 1));
        let mut queue = self.queue.range(from..).peekable();
        let mut parked = self.parked.range(from..).peekable();
        core::iter::from_fn(move || {
            let next = match (queue.peek(), parked.peek()) {
                (Some((queued, _)), Some((aside, _))) if aside < queued => parked.next(),
                (Some(_), _) => queue.next(),
                (None, _) => parked.next(),
            };
            next.map(|(&ticket, &waiter)| (ticket, waiter))
        })
    }

    /// How many stand in the queue before a ticket, parked waiters aside; no more than `limit` are counted.
    pub(crate) fn queued_before(&self, ticket: Ticket, limit: usize) -> usize {
        self.queue.range(..ticket).take(limit).count()
    }

    /// Whether `count` more can be held without exceeding the maximum.
    pub(crate) fn has_room_for(&self, count: Count) -> bool {
        self.held + count.get() <= self.max.get()
    }
}

/// Keeps some of a map, in the time it takes to walk through it and to build what stays.
///
/// [`BTreeMap::retain`] takes out one at a time, which costs three times as much if few stay.
fn keep<K: Ord, V>(map: &mut BTreeMap<K, V>, stays: impl Fn(&V) -> bool) {
    *map = mem::take(map).into_iter().filter(|(_, value)| stays(value)).collect();
}

/// To find a place takes as long as to walk past this many. Measured; it need not be exact.
const WORTH_A_WALK: usize = 16;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn places_that_were_left_are_cleared_be_they_many_or_few() {
        for step in [1, 2, 15, 16, 17, 90, 300] {
            let (mut semaphore, places) = crowded();
            let left: Vec<_> = places.iter().copied().step_by(step).collect();
            let lives = |slot: Slot| !slot.index().is_multiple_of(step);
            semaphore.clear(left.iter().map(|&(_, place)| place), lives);
            let expected: Vec<_> =
                places.iter().map(|&(slot, _)| slot).filter(|&slot| lives(slot)).collect();
            let holders = semaphore.holders_after(None).map(|(_, slot)| slot);
            let waiters = semaphore.waiters_after(None).map(|(_, waiter)| waiter.slot);
            let stay: Vec<_> = holders.chain(waiters).collect();
            assert_eq!(stay, expected, "every {step}. left");
        }
    }

    /// A semaphore with a hundred holders, a hundred waiters in the queue and as many parked ones,
    /// all in the order of their slots.
    fn crowded() -> (Semaphore, Vec<(Slot, EntryKey)>) {
        let mut semaphore = Semaphore::new(Count::ONE, Level(0), FencingToken(0));
        let places = (0..300).map(|index| {
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
        let places = places.collect();
        (semaphore, places)
    }
}
