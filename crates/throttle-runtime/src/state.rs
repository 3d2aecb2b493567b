//! What the mutex protects: the state machine, the names of its semaphores, and the open waits.
//!
//! The events of the state machine are recorded as [`Effects`] twice in each operation: before it, those of
//! peers that expired since the last operation ([`State::catch_up`]), and after it, its own
//! ([`State::collect_effects`]). What takes longer, such as waking tasks, is done by [`Effects::deliver`]
//! after the mutex is unlocked.

use std::sync::Arc;

use throttle_core::{Settings, Throttle, Time};

use crate::{
    effects::Effects,
    entropy::Entropy,
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
}

/// What a service does in the present part of its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Grants locks, and lets requests wait for them.
    Leading,
    /// Grants locks, but answers every request at once, because the server is about to end.
    Draining,
}

impl State {
    /// A state without semaphores and peers. Fencing tokens will be greater than `token_floor`.
    pub(crate) fn new(
        settings: Settings,
        observer: Box<dyn Observer>,
        mut entropy: Entropy,
        token_floor: u64,
    ) -> Self {
        Self {
            throttle: Throttle::new(settings)
                .with_token_floor(token_floor)
                .with_hash_seed(entropy.seed()),
            lease_clock: LeaseClock::default(),
            names: Arc::default(),
            entropy,
            observer,
            waits: Waits::new(),
            expiry_log: ExpiryLog::default(),
            phase: Phase::Leading,
            timer_due: None,
        }
    }

    /// Ends the leases that are due at `now`, as far as `budget` allows, and records the effects.
    ///
    /// Returns the instant that was reached: `now`, or an earlier one if work is left.
    pub(crate) fn catch_up(&mut self, now: Time, budget: u32, effects: &mut Effects) -> Time {
        let Self { throttle, waits, observer, names, .. } = self;
        let reached = throttle.catch_up_with(now, budget, |event| {
            effects.record(event, waits, &mut **observer, names);
        });
        self.expiry_log.take_from(&mut effects.peer_log);
        reached
    }

    /// Records the events that were not polled yet, and whether the timer must wake earlier.
    pub(crate) fn collect_effects(&mut self, effects: &mut Effects) {
        while let Some(event) = self.throttle.poll_event() {
            effects.record(event, &mut self.waits, &mut *self.observer, &self.names);
        }
        self.expiry_log.take_from(&mut effects.peer_log);
        let timeout = self.throttle.poll_timeout();
        if timeout.is_some_and(|timeout| self.timer_due.is_none_or(|due| timeout < due)) {
            self.timer_due = timeout;
            effects.must_rearm = true;
        }
    }

    /// Lets no further request wait, and ends up to [`DRAINED_IN_A_STEP`] waits. Returns whether some may
    /// be left.
    pub(crate) fn drain(&mut self, now: Time, effects: &mut Effects) -> bool {
        self.phase = Phase::Draining;
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
