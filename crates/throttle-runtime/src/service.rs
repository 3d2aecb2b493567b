//! A service: its state behind a mutex, and how an operation runs on it.
//!
//! An operation first removes the peers that are due, then does its own work, and delivers its effects on
//! others after the mutex is unlocked. Handles, waits and the timer all go through here.

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
    error::Error,
    failure::{Failure, FirstFailure},
    observer::Observer,
    state::State,
    world::World,
};

/// What all handles and the timer share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) clock: Clock,
    /// Never locked across an await. A panic inside means that an invariant is broken; the mutex stays
    /// poisoned then, and the service has [failed](crate::Handle::failed).
    state: Mutex<State>,
    /// How many threads wait for the mutex.
    contenders: AtomicUsize,
    /// Locked during a reconfiguration, so that the semaphores do not change between its plan and its
    /// installation.
    pub(crate) reconfiguring: tokio::sync::Mutex<()>,
    pub(crate) failure: FirstFailure,
    /// Wakes the timer: a deadline comes earlier than the instant at which it would wake, or the service
    /// has ended.
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
            reconfiguring: tokio::sync::Mutex::new(()),
            failure: FirstFailure::none(),
            rearm: Arc::new(Notify::new()),
        }
    }

    /// Runs an operation on semaphores and peers, and returns its answer.
    ///
    /// Every such operation of a [`Handle`](crate::Handle) passes through here, including those that only
    /// read, and the end of a wait after its `block_for`. Today the answer is ready at once. Once there is a
    /// durable store, an answer waits here until the changes that it shows are durable, including changes
    /// that other requests made. A wait that another operation ends gets its outcome from
    /// [`Effects::deliver`] instead.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if an earlier operation panicked.
    pub(crate) async fn answer<R, E: Into<Error>>(
        &self,
        operation: impl FnOnce(&mut State, Time) -> Result<R, E>,
    ) -> Result<R, Error> {
        let result = self.try_with_state(|state, now, _| operation(state, now));
        result.ok_or(Error::Failed)?.map_err(Into::into)
    }

    /// Runs an operation under the mutex.
    ///
    /// The operation gets the instant up to which all due peers are removed. While there is a backlog of
    /// them, that instant is in the past.
    ///
    /// # Panics
    ///
    /// If an earlier operation panicked.
    pub(crate) fn with_state<R>(
        &self,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> R {
        let state = self.lock().expect(NO_PANIC);
        self.run_locked(state, OPERATION_BUDGET, operation)
    }

    /// As [`with_state`](Self::with_state), but returns `None` if an earlier operation panicked.
    pub(crate) fn try_with_state<R>(
        &self,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> Option<R> {
        self.try_with_budget(OPERATION_BUDGET, operation)
    }

    /// As [`try_with_state`](Self::try_with_state), with a budget for the peers that are due.
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
            // So that a panic unlocks the mutex before `panicked` is dropped.
            let mut state = state;
            let present = state.lease_clock.observe(self.clock.now());
            // The events of due peers reach the waits that began earlier, not one that this operation begins.
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

    /// Removes all peers that are due. That takes as long as the backlog is, so a task must not call it.
    pub(crate) fn work_off_backlog(&self) {
        self.with_state_in_steps(|state, now, _| now < state.lease_clock.present());
    }

    /// Runs `step` under the mutex until it returns `false`. Other operations may run between two steps.
    /// Does nothing if an earlier operation panicked.
    pub(crate) fn with_state_in_steps(
        &self,
        step: impl Fn(&mut State, Time, &mut Effects) -> bool,
    ) {
        while self.try_with_budget(TIMER_BUDGET, &step).unwrap_or(false) {
            // A waiting thread gets the mutex only if this one does not lock it again immediately.
            thread::yield_now();
        }
    }

    /// Locks the state; `None` if an operation has panicked.
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

    /// Whether a thread waits for the mutex. A thread that unlocks it and locks it again may win every time,
    /// however long others wait, so work in many steps should check this in between.
    pub(crate) fn is_contended(&self) -> bool {
        self.contenders.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.rearm.notify_one();
    }
}

/// Marks the service as failed when it is dropped, by an operation that panics. Other operations forget
/// it, which costs nothing.
struct Panicked<'a>(&'a Service);

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        self.0.failure.add(Failure::Operation);
        // Their senders are dropped, so all waits end with `Error::Failed`.
        if let Err(poisoned) = self.0.state.lock() {
            drop(poisoned.into_inner().waits.take_all());
        }
    }
}

/// How much work on due peers an operation does before its own, in the units of
/// [`throttle_core::Throttle::catch_up`]. A unit takes a quarter to half a microsecond. Usually far less is
/// due.
const OPERATION_BUDGET: u32 = 256;

/// How much work on due peers the timer does in one critical section: one to two milliseconds.
pub(crate) const TIMER_BUDGET: u32 = 4_096;

/// The expectation of operations that return no error.
pub(crate) const NO_PANIC: &str = "no operation panicked before";
