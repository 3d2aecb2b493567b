//! What the mutex protects: the state machine, the names of its semaphores, and the open waits.
//!
//! The events of the state machine are recorded as [`Effects`] twice in each operation: before it, those of
//! peers that expired since the last operation ([`State::catch_up`]), and after it, its own
//! ([`State::collect_effects`]). What takes longer, such as waking tasks, is done by [`Effects::deliver`]
//! after the mutex is unlocked.

use std::{mem, sync::Arc};

use throttle_core::{PeerId, SemaphoreId, Sequence, Throttle, Time};

use crate::{
    effects::Effects,
    entropy::Entropy,
    journal::{Journal, Receipt, Shows},
    names::Names,
    observer::Observer,
    open_waits::{Outcome, WaitKey, Waits},
    peer_log::ExpiryLog,
    stalls::LeaseClock,
};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) throttle: Throttle,
    pub(crate) lease_clock: LeaseClock,
    /// Replaced as a whole, so that a clone can be read without the mutex.
    pub(crate) names: Arc<Names>,
    pub(crate) entropy: Entropy,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) waits: Waits,
    pub(crate) expiry_log: ExpiryLog,
    pub(crate) phase: Phase,
    /// The instant at which the timer wakes.
    pub(crate) timer_due: Option<Time>,
    /// When the grace period ends, in which nothing is granted.
    pub(crate) grace_until: Option<Time>,
    /// What is not durable yet, if there is a store.
    pub(crate) journal: Option<Box<Journal>>,
}

/// What a service does in the present part of its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Grants locks, and lets requests wait for them.
    Leading,
    /// Grants locks, but answers every request at once, because the server is about to end.
    Draining,
    /// Does nothing more: the store has failed or is closed, or the state was saved. No operation runs, and no
    /// lease ends.
    Ended,
}

impl State {
    /// The state of a service that begins at the instant `start`.
    pub(crate) fn new(
        start: Time,
        throttle: Throttle,
        names: Arc<Names>,
        observer: Box<dyn Observer>,
        entropy: Entropy,
    ) -> Self {
        Self {
            throttle,
            lease_clock: LeaseClock::start_at(start),
            names,
            entropy,
            observer,
            waits: Waits::new(),
            expiry_log: ExpiryLog::default(),
            phase: Phase::Leading,
            timer_due: None,
            grace_until: None,
            journal: None,
        }
    }

    /// Observes the instant `now` of the clock, and returns the lease time. It stands still while the store hangs: a
    /// peer cannot be told meanwhile that it was granted a lock or that its lease was renewed.
    #[inline]
    pub(crate) fn observe(&mut self, now: Time) -> Time {
        if self.store_hangs() {
            self.lease_clock.stand_still(now)
        } else {
            self.lease_clock.observe(now)
        }
    }

    /// Whether the store hung at the latest observation of the clock.
    #[inline]
    pub(crate) fn store_hangs(&self) -> bool {
        let observed = self.lease_clock.observed();
        self.journal.as_ref().is_some_and(|journal| journal.hangs(observed))
    }

    /// Ends the leases that are due at `now`, as far as `budget` allows, and records the effects.
    ///
    /// Returns the instant that was reached: `now`, or an earlier one if work is left.
    pub(crate) fn catch_up(&mut self, now: Time, budget: u32, effects: &mut Effects) -> Time {
        let Self { throttle, waits, observer, journal, names, .. } = self;
        let reached = throttle.catch_up_with(now, budget, |event| {
            effects.record(event, waits, &mut **observer, journal.as_deref_mut(), names);
        });
        self.expiry_log.take_from(&mut effects.peer_log);
        reached
    }

    /// Records the events that were not polled yet, and whether the timer must wake earlier.
    pub(crate) fn collect_effects(&mut self, effects: &mut Effects) {
        while let Some(event) = self.throttle.poll_event() {
            let Self { waits, observer, journal, names, .. } = self;
            effects.record(event, waits, &mut **observer, journal.as_deref_mut(), names);
        }
        self.expiry_log.take_from(&mut effects.peer_log);
        let timeout = self.throttle.poll_timeout();
        if timeout.is_some_and(|timeout| self.timer_due.is_none_or(|due| timeout < due)) {
            self.timer_due = timeout;
            effects.must_rearm = true;
        }
    }

    /// Ends the grace period if its time is over, by as many grants as the budget allows. The next call continues.
    pub(crate) fn end_grace_period(&mut self, now: Time, budget: u32) {
        let present = self.lease_clock.present();
        if self.grace_until.is_some_and(|until| until <= present)
            && !self.throttle.resume_some_grants(now, budget)
        {
            self.grace_until = None;
        }
    }

    /// The last step of an operation of a service with a store: holds back its answer and the waits that it
    /// ended until what they show is durable.
    #[inline(never)] // A service without a store is faster without it.
    pub(crate) fn hold_back(&mut self, effects: &mut Effects, shows: Shows) -> Option<Receipt> {
        let Self { journal, throttle, names, lease_clock, .. } = self;
        let journal = journal.as_deref_mut()?;
        while let Some(peer) = throttle.poll_forgotten() {
            journal.touch_peer(peer);
        }
        effects.outcomes = journal.hold(mem::take(&mut effects.outcomes));
        let receipt = journal.receipt(shows);
        journal.seal_if_full(throttle, names, lease_clock.discounted());
        effects.must_wake_writer = journal.must_wake_writer();
        receipt
    }

    /// Notes that a semaphore was added or changed.
    pub(crate) fn touch_semaphore(&mut self, id: SemaphoreId) {
        if let Some(journal) = &mut self.journal {
            journal.touch_semaphore(id);
        }
    }

    /// Notes that a request with this number was accepted, or may have been: that has no event.
    pub(crate) fn note_sequence<R>(
        &mut self,
        peer: PeerId,
        sequence: Option<Sequence>,
        result: &Result<R, throttle_core::Error>,
    ) {
        if let (Some(journal), Some(_)) = (&mut self.journal, sequence)
            && !matches!(result, Err(throttle_core::Error::StaleRequest { .. }))
        {
            journal.touch_peer(peer);
        }
    }

    /// Lets no operation run any more. Returns what has to be dropped after the mutex is unlocked: all waits, which
    /// end with an error.
    #[must_use]
    pub(crate) fn end(&mut self) -> impl Sized + use<> {
        self.phase = Phase::Ended;
        self.waits.take_all()
    }

    /// Lets no further request wait, and ends up to [`DRAINED_IN_A_STEP`] waits. Returns whether some may
    /// be left.
    pub(crate) fn drain(&mut self, now: Time, effects: &mut Effects) -> bool {
        if self.phase == Phase::Leading {
            self.phase = Phase::Draining;
        }
        for _ in 0..DRAINED_IN_A_STEP {
            let Some(wait) = self.waits.first() else {
                return false;
            };
            self.end_wait(now, wait, effects);
        }
        true
    }

    /// Ends the oldest short wait. Returns whether there was one that may be ended.
    pub(crate) fn end_short_wait(&mut self, now: Time, effects: &mut Effects) -> bool {
        let Some(wait) = self.waits.oldest_short(self.lease_clock.present()) else {
            return false;
        };
        self.end_wait(now, wait, effects);
        true
    }

    /// Ends a wait with the outcome that its lock is still pending.
    fn end_wait(&mut self, now: Time, wait: WaitKey, effects: &mut Effects) {
        let WaitKey { peer, ticket, id } = wait;
        let Some(pending) = self.throttle.end_wait(now, peer, ticket) else {
            // An event that is not collected yet has ended this wait: a lease of zero length ended first,
            // and it was the lease of this peer or freed the lock.
            self.collect_effects(effects);
            assert!(!self.waits.contains(peer, id), "no wait ends without an event");
            return;
        };
        let wait = self.waits.remove(peer, id).expect("the wait is open");
        effects.end_waits(vec![wait], Outcome::Queued(pending));
    }
}

/// How many waits are ended in one critical section.
pub(crate) const DRAINED_IN_A_STEP: usize = 1_000;
