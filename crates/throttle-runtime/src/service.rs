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
};

use throttle_core::{Settings, Time};
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    effects::Effects,
    failure::{Failure, Failures},
    observer::Observer,
    state::State,
    world::World,
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

impl Service {
    /// A service without semaphores and peers.
    pub(crate) fn new(world: World, settings: Settings, observer: Box<dyn Observer>) -> Self {
        let World { clock, entropy, token_floor } = world;
        Self {
            clock,
            state: Mutex::new(State::new(settings, observer, entropy, token_floor)),
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
    pub(crate) fn with_state<R>(
        &self,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> R {
        let state = self.lock().expect("no operation panicked before");
        self.run_locked(state, OPERATION_BUDGET, operation)
    }

    /// Does nothing if an earlier operation panicked.
    pub(crate) fn try_with_state<R>(
        &self,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> Option<R> {
        self.try_with_budget(OPERATION_BUDGET, operation)
    }

    pub(crate) fn try_with_budget<R>(
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
        while self.try_with_budget(TIMER_BUDGET, &part).unwrap_or(false) {
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
}

impl Drop for Service {
    fn drop(&mut self) {
        self.rearm.notify_one();
    }
}

/// Is forgotten when an operation has ended well, so it costs nothing then. Dropped when it panics.
struct Panicked<'a>(&'a Service);

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        self.0.failure.add(Failure::Operation);
        // Those who wait hear that there is nothing to wait for.
        if let Err(poisoned) = self.0.state.lock() {
            drop(poisoned.into_inner().waits.take_all());
        }
    }
}

/// How much of what is due an operation does before its own turn, in the units of
/// [`throttle_core::Throttle::catch_up`]. What is due in ordinary times is far less. A unit takes a
/// quarter to half a microsecond.
const OPERATION_BUDGET: u32 = 256;

/// How much of what is due the timer does in one critical section: one to two milliseconds.
pub(crate) const TIMER_BUDGET: u32 = 4_096;
