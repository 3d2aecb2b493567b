//! How time passes: what happens by itself, and how much of it in one step.

use alloc::{collections::VecDeque, vec::Vec};
use core::mem;

use super::Throttle;
use crate::{
    CancelCause, Event, PeerId, SemaphoreId, Time,
    peers::Slot,
    semaphore::{EntryKey, Semaphore},
};

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
        self.catch_up_telling(now, budget, &mut |_| {})
    }

    /// As [`catch_up`](Self::catch_up), and passes the events to `tell` as they happen, instead of
    /// keeping them for [`poll_event`](Self::poll_event). Those that are there already come first.
    ///
    /// When very many peers leave, the list of all that happened would be larger than any cache.
    pub fn catch_up_with(&mut self, now: Time, budget: u32, mut tell: impl FnMut(Event)) -> Time {
        self.catch_up_telling(now, budget, &mut |events| events.drain(..).for_each(&mut tell))
    }

    fn catch_up_telling(
        &mut self,
        now: Time,
        budget: u32,
        tell: &mut dyn FnMut(&mut VecDeque<Event>),
    ) -> Time {
        let now = self.in_order(now);
        self.present = self.present.max(now);
        if self.is_due(now) {
            self.settle(now, &mut Budget(budget as usize), tell);
        }
        self.now = match self.deadlines.first() {
            Some((first, _)) if first <= now => self.now.max(first.just_before()),
            _ => now,
        };
        self.absent.prune(self.now, (budget / PRUNED_SHARE).max(1) as usize);
        tell(&mut self.events);
        self.now
    }

    /// The first line of every operation: lets time pass until `now`.
    pub(super) fn advance(&mut self, now: Time) {
        let now = self.in_order(now);
        if self.is_due(now) {
            self.settle(now, &mut Budget(usize::MAX), &mut |_| {});
        }
        self.now = now;
        self.present = self.present.max(now);
    }

    /// Whether there is anything to look at until `now`.
    fn is_due(&self, now: Time) -> bool {
        self.deadlines.first().is_some_and(|(first, _)| first <= now)
    }

    /// Time never runs backwards, and never ends: the last instant stands for never.
    fn in_order(&self, now: Time) -> Time {
        now.max(self.now).min(Time::MAX.just_before())
    }

    /// Does what is due until an instant, one instant after the other, until the budget is spent.
    ///
    /// Those who are concerned at the same instant have their turn in the order of their ids, and
    /// leave before anybody is served. As long as nobody waits where they leave, nothing that happens
    /// at one instant concerns those who are due at another; so their places are cleared together.
    ///
    /// `tell` takes events away, or leaves them to be polled.
    #[inline(never)] // Mostly nothing is due, and operations are faster without it.
    fn settle(
        &mut self,
        until: Time,
        budget: &mut Budget,
        tell: &mut dyn FnMut(&mut VecDeque<Event>),
    ) {
        let (mut concerned, mut vacated, mut left) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(due) = self.next_due(until, budget) {
            self.now = self.now.max(due);
            self.present = self.present.max(due);
            self.take_due(due, &mut concerned);
            let mut anybody_waits = false;
            for (id, slot) in concerned.drain(..) {
                if self.peers.get(slot).lease_end() > due {
                    self.cancel(slot, CancelCause::Abandoned);
                    budget.spend(1);
                    continue;
                }
                let places = vacated.len();
                let (locks, labels) = self.evict(slot, &mut vacated);
                anybody_waits |= vacated[places..].iter().any(|place| self.has_queue(place.0));
                budget.spend(1 + vacated.len() - places);
                left.push((id, slot));
                self.events.push_back(Event::Expired { peer: id, locks, labels });
                if left.len().is_multiple_of(AT_A_TIME) {
                    tell(&mut self.events);
                }
            }
            if anybody_waits {
                budget.spend(self.clear(mem::take(&mut vacated)));
            }
            if budget.is_spent() {
                break;
            }
        }
        budget.spend(self.clear(vacated));
        self.peers.forget(&left);
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
    fn take_due(&mut self, due: Time, concerned: &mut Vec<(PeerId, Slot)>) {
        while let Some((_, slot)) = self.deadlines.first().filter(|first| first.0 <= due) {
            let peer = self.peers.get(slot);
            let (timeout, end) = (peer.timeout(), peer.lease_end());
            if timeout <= due {
                concerned.push((peer.id, slot));
            }
            match end <= due {
                true => self.deadlines.remove(slot),
                // Who was parked for too long lives on.
                false => self.deadlines.set(slot, if timeout <= due { end } else { timeout }),
            }
        }
        concerned.sort_unstable();
    }

    fn has_queue(&self, semaphore: SemaphoreId) -> bool {
        self.semaphore(semaphore).is_ok_and(Semaphore::has_queue)
    }

    /// Clears places that evicted peers have left, then serves the queues, each once, in order of the
    /// semaphores. Returns the number of grants.
    pub(super) fn clear(&mut self, mut vacated: Vec<(SemaphoreId, EntryKey)>) -> usize {
        vacated.sort_unstable_by_key(|&(semaphore, _)| semaphore);
        let vacated = || vacated.chunk_by(|(one, _), (other, _)| one == other);
        for places in vacated() {
            let semaphore = self.semaphores[places[0].0.index()].as_mut();
            let semaphore = semaphore.expect("a semaphore in use is not removed");
            semaphore.clear(places.iter().map(|&(_, place)| place), |slot| self.peers.lives(slot));
        }
        vacated().map(|places| self.serve(places[0].0)).sum()
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
const PRUNED_SHARE: u32 = 32;

/// After how many peers that leave what happened is told: few enough for it to be in the cache still.
const AT_A_TIME: usize = 16;

#[cfg(test)]
mod tests;
