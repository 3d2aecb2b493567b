//! How time passes: what happens by itself, and how much of it in one step.

use alloc::{collections::VecDeque, vec::Vec};
use core::mem;

use super::Throttle;
use crate::{CancelCause, Event, PeerId, Time, peers::Slot};

impl Throttle {
    /// Removes every peer whose deadline is at or before `now`, and serves the queues they leave.
    ///
    /// Peers that leave at the same instant leave in one step: none of them is granted what another
    /// one held. Waiters parked for too long lose their pending lock. Returns whether anything
    /// happened. Costs O(log n) for each peer that leaves.
    pub fn expire(&mut self, now: Time) -> bool {
        let before = self.events.len();
        self.advance(now);
        self.events.len() > before
    }

    /// Does what is due until `now` in the order of time, but not much more than `budget` of it in one
    /// call. Returns the instant until which everything is done: `now`, or an earlier one.
    ///
    /// If an earlier one is returned, the machine has a backlog. Operations may be applied at that
    /// instant meanwhile: for them the peers in the backlog are alive, and a heartbeat of such a peer
    /// renews its lease. Leases that begin while there is a backlog begin at `now`, the present, so
    /// none is shorter than its peer believes. An operation that is applied at a later instant does all
    /// the rest first.
    ///
    /// Each peer that leaves, each lock that it leaves, each grant, and each deadline that is found to be
    /// postponed counts as one. What happens at one instant happens in one call, and each call does
    /// something if anything is due. Calling it again with the same `now` until it returns `now` does
    /// the same as one call without a bound.
    pub fn catch_up(&mut self, now: Time, budget: u32) -> Time {
        self.catch_up_delivering(now, budget, &mut |_| {})
    }

    /// As [`catch_up`](Self::catch_up), and passes the events to `deliver` as they happen, instead of
    /// keeping them for [`poll_event`](Self::poll_event). Those that are there already come first.
    ///
    /// When very many peers leave, the list of all that happened would be larger than any cache.
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

    /// The first line of every operation: lets time pass until `now`.
    pub(super) fn advance(&mut self, now: Time) {
        let now = self.clamp(now);
        if self.is_due(now) {
            self.process_due(now, &mut Budget(usize::MAX), &mut |_| {});
        }
        self.now = now;
        self.present = self.present.max(now);
    }

    /// Whether there is anything to look at until `now`.
    fn is_due(&self, now: Time) -> bool {
        self.deadlines.first().is_some_and(|(first, _)| first <= now)
    }

    /// Time never runs backwards, and never ends: the last instant stands for never.
    fn clamp(&self, now: Time) -> Time {
        now.max(self.now).min(Time::MAX.just_before())
    }

    /// Does what is due until an instant, one instant after the other, until the budget is spent.
    ///
    /// Those who are due_peers at the same instant have their turn in the order of their ids, and
    /// leave before anybody is served. As long as nobody waits where they leave, nothing that happens
    /// at one instant concerns those who are due at another; so their before are cleared together.
    ///
    /// `deliver` takes events away, or leaves them to be polled.
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
            let mut has_queue = false;
            for (id, slot) in due_peers.drain(..) {
                if self.peers.get(slot).lease_end() > due {
                    self.cancel(slot, CancelCause::Abandoned);
                    budget.spend(1);
                    continue;
                }
                let before = entries.len();
                let (locks, labels) = self.evict(slot, &mut entries);
                has_queue |= entries[before..].iter().any(|place| self.has_queue(place.0));
                budget.spend(1 + entries.len() - before);
                expired.push((id, slot));
                self.events.push_back(Event::Expired { peer: id, locks, labels });
                if expired.len().is_multiple_of(DELIVER_EVERY) {
                    deliver(&mut self.events);
                }
            }
            if has_queue {
                budget.spend(self.vacate(mem::take(&mut entries)));
            }
            if budget.is_spent() {
                break;
            }
        }
        budget.spend(self.vacate(entries));
        self.peers.forget(&expired);
    }

    /// The earliest instant until which nothing happens, and at which something does, if that is at or
    /// before `until`. `None` also if the budget was spent on the search.
    ///
    /// The entries of peers whose timeout was postponed are corrected on the way.
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

    /// Lists everybody who is due at an instant, in the order of their ids, and takes those whose lease
    /// ends out of the deadlines.
    fn collect_due(&mut self, due: Time, due_peers: &mut Vec<(PeerId, Slot)>) {
        while let Some((_, slot)) = self.deadlines.first().filter(|first| first.0 <= due) {
            let peer = self.peers.get(slot);
            let (timeout, end) = (peer.timeout(), peer.lease_end());
            if timeout <= due {
                due_peers.push((peer.id, slot));
            }
            match end <= due {
                true => self.deadlines.remove(slot),
                // Who was parked for too long lives on.
                false => self.deadlines.set(slot, if timeout <= due { end } else { timeout }),
            }
        }
        due_peers.sort_unstable();
    }
}

/// How much may still be done in a step.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, work: usize) {
        self.0 = self.0.saturating_sub(work);
    }

    fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// Of what may be done in a step, the share for numbers that were kept for long enough.
const PRUNE_DIVISOR: u32 = 32;

/// After how many peers that leave what happened is told: few enough for it to be in the cache still.
const DELIVER_EVERY: usize = 16;

#[cfg(test)]
mod tests;
