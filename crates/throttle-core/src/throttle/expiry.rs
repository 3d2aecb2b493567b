//! Time: what happens when a deadline comes, and how much of it in one step.
//!
//! An embedder learns from [`Throttle::poll_timeout`], in the module above, when the next deadline may come.
//! What an expired peer held is taken from it in `removal`.

use alloc::{collections::VecDeque, vec::Vec};
use core::mem;

use super::Throttle;
use crate::{CancelCause, Event, PeerId, Time, peers::Slot, semaphore::EntryKey};

impl Throttle {
    /// Removes every peer whose deadline is at or before `now`, and serves the queues.
    ///
    /// Peers that expire at the same instant are removed in one step: none of them is granted what
    /// another one held. The pending locks of waiters that were parked for too long are cancelled.
    /// Returns whether anything happened. Costs O(log n) for each peer that expires.
    pub fn expire(&mut self, now: Time) -> bool {
        let before = self.events.len();
        self.advance(now);
        self.events.len() > before
    }

    /// Processes what is due until `now`, in the order of time, and stops soon after `budget` units of
    /// work. Returns the instant until which everything is done: `now`, or an earlier one.
    ///
    /// If it returns an earlier one, the machine has a backlog. Meanwhile operations may be applied at that
    /// instant: for them the peers in the backlog are alive, and a heartbeat of such a peer renews its
    /// lease. Leases that begin during a backlog begin at the present, `now`, so none is shorter than its
    /// peer expects. An operation applied at a later instant processes the rest of the backlog first.
    ///
    /// A unit is an expired peer, a lock of such a peer, a grant, or an entry whose deadline turns out to
    /// be postponed. What happens at one instant happens in one call, and each call makes progress if
    /// anything is due. Repeating the call with the same `now` until it returns `now` has the same effect
    /// as one call with an unlimited budget.
    pub fn catch_up(&mut self, now: Time, budget: u32) -> Time {
        self.catch_up_delivering(now, budget, &mut |_| {})
    }

    /// Like [`catch_up`](Self::catch_up), but passes the events to `deliver` soon after they happen,
    /// instead of keeping them for [`poll_event`](Self::poll_event). Events from before come first.
    ///
    /// When very many peers expire, the queue of all events would not fit into any cache.
    pub fn catch_up_with(
        &mut self,
        now: Time,
        budget: u32,
        mut deliver: impl FnMut(Event),
    ) -> Time {
        self.catch_up_delivering(now, budget, &mut |events| events.drain(..).for_each(&mut deliver))
    }

    fn catch_up_delivering(
        &mut self,
        now: Time,
        budget: u32,
        deliver: &mut dyn FnMut(&mut VecDeque<Event>),
    ) -> Time {
        let now = self.clamp(now);
        self.present = self.present.max(now);
        if self.is_due(now) {
            self.process_due(now, &mut Budget(budget as usize), deliver);
        }
        self.now = match self.deadlines.first() {
            Some((first, _)) if first <= now => self.now.max(first.just_before()),
            _ => now,
        };
        self.absent.prune(self.now, (budget / PRUNE_DIVISOR).max(1) as usize);
        deliver(&mut self.events);
        self.now
    }

    /// The first line of every operation: advances time to `now` and processes what is due.
    pub(super) fn advance(&mut self, now: Time) {
        let now = self.clamp(now);
        if self.is_due(now) {
            self.process_due(now, &mut Budget(usize::MAX), &mut |_| {});
        }
        self.now = now;
        self.present = self.present.max(now);
    }

    /// Whether any entry in the deadlines is at or before `now`.
    fn is_due(&self, now: Time) -> bool {
        self.deadlines.first().is_some_and(|(first, _)| first <= now)
    }

    /// Keeps time from running backwards, and below [`Time::MAX`], which means never.
    fn clamp(&self, now: Time) -> Time {
        now.max(self.now).min(Time::MAX.just_before())
    }

    /// Processes what is due until an instant, one instant after the other, until the budget is spent.
    ///
    /// Peers due at one instant are processed in id order, before any queue is served. Unless a peer leaves a
    /// semaphore that [awaits a release](crate::semaphore::Semaphore::awaits_release), one instant cannot
    /// affect the next, so the entries of many instants are vacated together.
    ///
    /// `deliver` may take events away; the others stay to be polled.
    #[inline(never)] // Mostly nothing is due, and operations are faster without it.
    fn process_due(
        &mut self,
        until: Time,
        budget: &mut Budget,
        deliver: &mut dyn FnMut(&mut VecDeque<Event>),
    ) {
        let (mut due_peers, mut entries, mut expired) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(due) = self.next_due(until, budget) {
            self.now = self.now.max(due);
            self.present = self.present.max(due);
            self.collect_due(due, &mut due_peers);
            let mut awaited = false;
            for (id, slot) in due_peers.drain(..) {
                if self.peers.get(slot).lease_end() > due {
                    let pending = self.peers.get(slot).pending.expect("only a waiter is parked");
                    self.cancel(slot, CancelCause::Abandoned);
                    if self.semaphore_mut(pending.semaphore).deferred().is_some() {
                        entries.push((pending.semaphore, EntryKey::Removed));
                        awaited = true;
                    }
                    budget.spend(1);
                    continue;
                }
                let before = entries.len();
                let (locks, labels) = self.evict(slot, &mut entries);
                awaited |= entries[before..].iter().any(|entry| self.awaits_release(entry.0));
                budget.spend(1 + entries.len() - before);
                expired.push((id, slot));
                self.events.push_back(Event::Expired { peer: id, locks, labels });
                if expired.len().is_multiple_of(DELIVER_EVERY) {
                    deliver(&mut self.events);
                }
            }
            if awaited {
                budget.spend(self.vacate(mem::take(&mut entries)));
            }
            if budget.is_spent() {
                break;
            }
        }
        budget.spend(self.vacate(entries));
        self.peers.forget(&expired);
    }

    /// The next instant at which something happens, if it is at or before `until`. `None` also if the
    /// search used up the budget.
    ///
    /// Corrects the entries of peers whose timeout was postponed on the way.
    fn next_due(&mut self, until: Time, budget: &mut Budget) -> Option<Time> {
        while let Some((entry, slot)) = self.deadlines.first().filter(|first| first.0 <= until) {
            let timeout = self.peers.get(slot).timeout();
            if timeout <= entry {
                return Some(entry);
            }
            self.deadlines.set(slot, timeout);
            budget.spend(1);
            if budget.is_spent() {
                return None;
            }
        }
        None
    }

    /// Lists the peers that are due at an instant, in id order. Removes the entries of those whose lease
    /// ends from the deadlines.
    fn collect_due(&mut self, due: Time, due_peers: &mut Vec<(PeerId, Slot)>) {
        while let Some((_, slot)) = self.deadlines.first().filter(|first| first.0 <= due) {
            let peer = self.peers.get(slot);
            let (timeout, end) = (peer.timeout(), peer.lease_end());
            if timeout <= due {
                due_peers.push((peer.id, slot));
            }
            match end <= due {
                true => self.deadlines.remove(slot),
                // Only the pending lock of a parked waiter is due; the peer stays.
                false => self.deadlines.set(slot, if timeout <= due { end } else { timeout }),
            }
        }
        due_peers.sort_unstable();
    }
}

/// The units of work left in a step.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, work: usize) {
        self.0 = self.0.saturating_sub(work);
    }

    fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// A step forgets at most this fraction of its budget in outdated sequence numbers.
const PRUNE_DIVISOR: u32 = 32;

/// After how many expired peers events are delivered: few enough that the events are still in the cache.
const DELIVER_EVERY: usize = 16;

#[cfg(test)]
mod tests;
