//! What the mutex protects: the state machine, the names of its semaphores, and who listens.
//!
//! The events of the machine go to everybody who consumes them, before an operation what happened by
//! itself since the last one ([`State::catch_up`]), and after it what it did ([`State::collect_effects`]). What
//! takes longer, such as waking tasks, is left to [`Effects::deliver`], after the mutex is free again.

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
    /// Replaced as a whole, so that others can go on reading the one before.
    pub(crate) names: Arc<Names>,
    pub(crate) entropy: Entropy,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) waits: Waits,
    pub(crate) expiry_log: ExpiryLog,
    pub(crate) phase: Phase,
    /// Until when the timer sleeps.
    pub(crate) timer_due: Option<Time>,
}

/// What a service does at its time of life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Decides who holds what, and lets requests wait for locks.
    Leading,
    /// Decides as before, but answers every request at once, because the server is about to end.
    Draining,
}

impl State {
    /// No semaphores and no peers. Fencing tokens are greater than `token_floor`.
    pub(crate) fn new(
        settings: Settings,
        observer: Box<dyn Observer>,
        mut entropy: Entropy,
        token_floor: u64,
    ) -> Self {
        Self {
            throttle: Throttle::new(settings)
                .minting_tokens_after(token_floor)
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

    /// Lets time pass until `now`, or until as much as `budget` was done, and adds what happens by
    /// itself to the effects. Returns the instant that was reached.
    pub(crate) fn catch_up(&mut self, now: Time, budget: u32, effects: &mut Effects) -> Time {
        let Self { throttle, waits, observer, names, .. } = self;
        let reached = throttle.catch_up_with(now, budget, |event| {
            effects.record(event, waits, &mut **observer, names);
        });
        self.expiry_log.take_from(&mut effects.peer_log);
        reached
    }

    /// Adds all that has happened since the last time to the effects.
    pub(crate) fn collect_effects(&mut self, effects: &mut Effects) {
        while let Some(event) = self.throttle.poll_event() {
            effects.record(event, &mut self.waits, &mut *self.observer, &self.names);
        }
        self.expiry_log.take_from(&mut effects.peer_log);
        let timeout = self.throttle.poll_timeout();
        if timeout.is_some_and(|timeout| self.timer_due.is_none_or(|alarm| timeout < alarm)) {
            self.timer_due = timeout;
            effects.must_rearm = true;
        }
    }

    /// Ends many waits in good order, and those to come before they begin. Returns whether there are
    /// more that are open.
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

    /// Ends the oldest short wait in good order. Returns whether there was one to be ended.
    pub(crate) fn end_short_wait(&mut self, now: Time, effects: &mut Effects) -> bool {
        let Some(wait) = self.waits.oldest_short(self.lease_clock.present()) else {
            return false;
        };
        self.end_wait(now, wait, effects);
        true
    }

    /// Answers an open request that its lock is still pending.
    fn end_wait(&mut self, now: Time, wait: WaitKey, effects: &mut Effects) {
        let WaitKey { peer, ticket, id } = wait;
        let Some(pending) = self.throttle.end_wait(now, peer, ticket) else {
            // A lease of no time that began a moment ago has ended first, and this wait with it or
            // because of it. An event says how.
            self.collect_effects(effects);
            assert!(!self.waits.contains(peer, id), "no wait ends without an event");
            return;
        };
        let wait = self.waits.remove(peer, id).expect("it was just found");
        effects.answer(vec![wait], Outcome::Pending(pending));
    }
}

/// How many waits are ended in one critical section.
pub(crate) const DRAINED_IN_A_STEP: usize = 1_000;
