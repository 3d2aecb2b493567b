//! The state behind its mutex, and how anything is done with it: what is due comes first, effects on
//! others come after it is free again.
//!
//! It knows nothing of handles, requests, or the timer, all of which use it.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use throttle_core::{Settings, Time};
use tokio::sync::Notify;

use crate::{
    Clock, Observer, Stalls,
    failure::{Failures, Panicked},
    peer_log::ExpiryTally,
    stalls::TICK,
    state::{Effects, State},
};

/// What all handles share with the timer.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) clock: Clock,
    /// Never held across an await. A panic inside means that an invariant is broken; the lock stays
    /// poisoned then, and the service has [failed](crate::Handle::failed).
    pub(crate) state: Mutex<State>,
    /// How many threads wait for the mutex.
    contenders: AtomicUsize,
    /// Held by whoever reconfigures, so that what was worked out outside of `state` still holds inside.
    pub(crate) reconfiguring: Mutex<()>,
    pub(crate) failure: Failures,
    pub(crate) rearm: Arc<Notify>,
}

/// What has happened since the log was told the last time, as far as it is time to do so.
pub(crate) struct Report {
    pub(crate) stalls: Option<Stalls>,
    /// Requests beyond the limit of those that wait.
    pub(crate) cut_short: Option<u64>,
    pub(crate) expired: Option<ExpiryTally>,
}

impl Service {
    /// A service without semaphores, whose time begins now.
    ///
    /// # Panics
    ///
    /// If the system has no randomness to give.
    pub(crate) fn new(settings: Settings, observer: Box<dyn Observer>) -> Self {
        Self {
            clock: Clock::start(),
            state: Mutex::new(State::new(settings, observer)),
            contenders: AtomicUsize::new(0),
            reconfiguring: Mutex::new(()),
            failure: Failures::none(),
            rearm: Arc::new(Notify::new()),
        }
    }

    /// The operation takes place at the instant until which everything is done that was due. While
    /// there is a backlog, that is not the present.
    ///
    /// # Panics
    ///
    /// If an earlier operation did.
    pub(crate) fn operate<R>(
        &self,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> R {
        let state = self.lock().expect("no operation panicked before");
        self.run_locked(state, BUDGET_OF_AN_OPERATION, operation)
    }

    /// Does nothing if an earlier operation panicked.
    pub(crate) fn try_with_state<R>(
        &self,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> Option<R> {
        self.try_with_budget(BUDGET_OF_AN_OPERATION, operation)
    }

    fn try_with_budget<R>(
        &self,
        budget: u32,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> Option<R> {
        let state = self.lock()?;
        Some(self.run_locked(state, budget, operation))
    }

    fn run_locked<R>(
        &self,
        state: MutexGuard<'_, State>,
        budget: u32,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> R {
        let panicked = Panicked(self);
        let mut effects = Effects::new();
        let result = {
            // Unlocked before anybody is told of a panic.
            let mut state = state;
            let present = state.lease_clock.observe(self.clock.now());
            // What is due concerns those who listened so far, not who begins to listen now.
            let now = state.catch_up(present, budget, &mut effects);
            let result = operation(&mut state, now, &mut effects);
            state.collect_effects(&mut effects);
            result
        };
        if effects.must_rearm {
            self.rearm.notify_one();
        }
        effects.deliver();
        mem::forget(panicked);
        result
    }

    /// Does all that is due. It takes as long as the backlog is, so it is for what is rare, and not called
    /// from a task.
    pub(crate) fn work_off_backlog(&self) {
        self.with_state_in_steps(|state, now, _| now < state.lease_clock.present());
    }

    /// Does something a part at a time, as long as it says that there is more to do. Others have their
    /// turn between two parts. Does nothing if an earlier operation panicked.
    pub(crate) fn with_state_in_steps(
        &self,
        part: impl Fn(&mut State, Time, &mut Effects) -> bool,
    ) {
        while self.try_with_budget(BUDGET_OF_THE_TIMER, &part).unwrap_or(false) {
            // A thread that waits for the mutex gets it only if this one does not take it again at once.
            thread::yield_now();
        }
    }

    /// `None` if an operation has panicked.
    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => return Some(state),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Poisoned(_)) => return None,
        }
        self.contenders.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock();
        self.contenders.fetch_sub(1, Ordering::Relaxed);
        state.ok()
    }

    /// Whether somebody waits for the mutex. An operating system may let the thread that has just given
    /// it back take it again, however long others wait, so who needs it again and again asks this.
    pub(crate) fn is_contended(&self) -> bool {
        self.contenders.load(Ordering::Relaxed) > 0
    }

    /// Does a part of what is due. Returns for how long the timer may sleep, which is no time at all if
    /// there is a backlog, and what to tell the log; nothing if the service has failed.
    pub(crate) fn tick(&self) -> Option<(Duration, Report)> {
        self.try_with_budget(BUDGET_OF_THE_TIMER, |state, _, _| {
            let present = state.lease_clock.present();
            let next_tick = present + TICK;
            let timer_due =
                state.throttle.poll_timeout().map_or(next_tick, |due| due.min(next_tick));
            state.timer_due = Some(timer_due);
            let report = Report {
                stalls: state.lease_clock.report(),
                cut_short: state.waits.report(present),
                expired: state.expiry_log.report(present),
            };
            (timer_due - present, report)
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.rearm.notify_one();
    }
}

/// How much of what is due an operation does before its own turn, in the units of
/// [`throttle_core::Throttle::catch_up`]. What is due in ordinary times is far less. A unit takes a
/// quarter to half a microsecond.
const BUDGET_OF_AN_OPERATION: u32 = 256;

/// How much of what is due the timer does in one critical section: one to two milliseconds.
const BUDGET_OF_THE_TIMER: u32 = 4_096;
