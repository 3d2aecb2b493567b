//! A service: its state behind a mutex, and how an operation runs on it.
//!
//! An operation first removes the peers that are due, then does its own work, and delivers its effects on
//! others after the mutex is unlocked. Handles, waits and the timer all go through here.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    thread,
};

use throttle_core::Time;
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    effects::Effects,
    error::Error,
    failure::{Failure, FirstFailure},
    journal::{Receipt, Shows, writer::Signal},
    recovery::Memory,
    state::{Phase, State},
};

/// What all handles and the timer share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) clock: Clock,
    /// What it began with.
    pub(crate) memory: Memory,
    /// Wakes the writer of the store, if there is one.
    pub(crate) writer: Arc<Signal>,
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
    pub(crate) fn new(clock: Clock, memory: Memory, state: State) -> Self {
        Self {
            clock,
            memory,
            writer: Arc::default(),
            state: Mutex::new(state),
            contenders: AtomicUsize::new(0),
            reconfiguring: tokio::sync::Mutex::new(()),
            failure: FirstFailure::none(),
            rearm: Arc::new(Notify::new()),
        }
    }

    /// Runs an operation on semaphores and peers, and returns its answer.
    ///
    /// Every such operation of a [`Handle`](crate::Handle) passes through here or through
    /// [`answer_showing`](Self::answer_showing), including those that only read, and the end of a wait after its
    /// `block_for`. The operation runs at once. With a store the answer waits until everything that was applied
    /// so far is durable. A wait that another operation ends gets its outcome from [`Effects::deliver`] instead,
    /// or from the journal.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if an operation panicked, and [`Error::StoreFailed`] if the changes that the answer
    /// shows cannot become durable.
    pub(crate) fn answer<R, E: Into<Error>>(
        &self,
        operation: impl FnOnce(&mut State, Time) -> Result<R, E>,
    ) -> Answer<'_, R> {
        self.answer_showing(|_| Shows::Everything, operation)
    }

    /// As [`answer`](Self::answer), but the answer waits only until what it shows is durable.
    pub(crate) fn answer_showing<R, E: Into<Error>>(
        &self,
        shows: impl FnOnce(&Result<R, E>) -> Shows,
        operation: impl FnOnce(&mut State, Time) -> Result<R, E>,
    ) -> Answer<'_, R> {
        let (result, receipt) = match self.enter() {
            Err(error) => (Err(error), None),
            Ok(state) => {
                let operation = |state: &mut State, now, _: &mut _| operation(state, now);
                let (result, receipt) = self.run_locked(state, OPERATION_BUDGET, operation, shows);
                (result.map_err(Into::into), receipt)
            }
        };
        Answer { service: self, receipt, result: Some(result) }
    }

    /// Runs an operation under the mutex, even if the service has ended.
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
        self.run_locked(state, OPERATION_BUDGET, operation, |_| Shows::Nothing).0
    }

    /// As [`with_state`](Self::with_state), but returns an error if the service has failed or ended.
    pub(crate) fn try_with_state<R>(
        &self,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> Result<R, Error> {
        self.try_with_budget(OPERATION_BUDGET, operation)
    }

    /// As [`try_with_state`](Self::try_with_state), with a budget for the peers that are due.
    pub(crate) fn try_with_budget<R>(
        &self,
        budget: u32,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
    ) -> Result<R, Error> {
        let state = self.enter()?;
        Ok(self.run_locked(state, budget, operation, |_| Shows::Nothing).0)
    }

    fn run_locked<R>(
        &self,
        state: MutexGuard<'_, State>,
        budget: u32,
        operation: impl FnOnce(&mut State, Time, &mut Effects) -> R,
        shows: impl FnOnce(&R) -> Shows,
    ) -> (R, Option<Receipt>) {
        let panicked = Panicked(self);
        let mut effects = Effects::new();
        let (result, receipt) = {
            // So that a panic unlocks the mutex before `panicked` is dropped.
            let mut state = state;
            let present = state.observe(self.clock.now());
            // The events of due peers reach the waits that began earlier, not one that this operation begins.
            let now = match state.phase {
                Phase::Leading | Phase::Draining => state.catch_up(present, budget, &mut effects),
                Phase::Ended => present,
            };
            let result = operation(&mut state, now, &mut effects);
            state.collect_effects(&mut effects);
            let receipt = match state.journal {
                None => None,
                Some(_) => state.hold_back(&mut effects, shows(&result)),
            };
            (result, receipt)
        };
        if effects.must_rearm {
            self.rearm.notify_one();
        }
        if effects.must_wake_writer {
            self.writer.wake();
        }
        effects.deliver();
        mem::forget(panicked);
        (result, receipt)
    }

    /// Runs a part of the service that reads the state other than by an operation. The service has failed if it
    /// panics.
    pub(crate) fn guarded<R>(&self, part: impl FnOnce() -> R) -> R {
        let panicked = Panicked(self);
        let result = part();
        mem::forget(panicked);
        result
    }

    /// Removes all peers that are due. That takes as long as the backlog is, so a task must not call it.
    pub(crate) fn work_off_backlog(&self) {
        self.with_state_in_steps(|state, now, _| now < state.lease_clock.present());
    }

    /// Runs `step` under the mutex until it returns `false`. Other operations may run between two steps.
    /// Does nothing if the service has failed or ended.
    pub(crate) fn with_state_in_steps(
        &self,
        step: impl Fn(&mut State, Time, &mut Effects) -> bool,
    ) {
        while self.try_with_budget(TIMER_BUDGET, &step) == Ok(true) {
            // A waiting thread gets the mutex only if this one does not lock it again immediately.
            thread::yield_now();
        }
    }

    /// Locks the state for an operation.
    fn enter(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.lock().ok_or(Error::Failed)?;
        if state.phase == Phase::Ended { Err(Error::StoreFailed) } else { Ok(state) }
    }

    /// Why an answer or an outcome that was held back is not given.
    pub(crate) fn why_not_answered(&self) -> Error {
        match *self.failure.borrow() {
            None | Some(Failure::Store) => Error::StoreFailed,
            Some(Failure::Operation | Failure::Timer) => Error::Failed,
        }
    }

    /// Locks the state; `None` if an operation has panicked.
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, State>> {
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
        let Ok(State { journal: Some(journal), throttle, names, lease_clock, .. }) =
            self.state.get_mut()
        else {
            return;
        };
        self.writer.leave(journal.take_rest(throttle, names, lease_clock.discounted()));
    }
}

/// The answer to an operation that was applied, from [`Service::answer`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Answer<'a, R> {
    service: &'a Service,
    /// Resolves when what the answer shows is durable; `None` if it is.
    receipt: Option<Receipt>,
    result: Option<Result<R, Error>>,
}

impl<R> Unpin for Answer<'_, R> {}

impl<R> Future for Answer<'_, R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(receipt) = &mut self.receipt {
            let durable = ready!(Pin::new(receipt).poll(context));
            self.receipt = None;
            if durable.is_err() {
                return Poll::Ready(Err(self.service.why_not_answered()));
            }
        }
        Poll::Ready(self.result.take().expect("an answer is given once"))
    }
}

/// Marks the service as failed when it is dropped, by an operation that panics. Other operations forget
/// it, which costs nothing. It must not be dropped under the mutex.
struct Panicked<'a>(&'a Service);

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        self.0.failure.add(Failure::Operation);
        // Their senders are dropped, so all waits and all answers that are held back end with `Error::Failed`.
        if let Err(poisoned) = self.0.state.lock() {
            let mut state = poisoned.into_inner();
            let held = state.journal.as_mut().map(|journal| journal.take_held());
            drop((state.waits.take_all(), held));
        }
        self.0.writer.wake();
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
