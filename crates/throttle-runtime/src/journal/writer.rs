//! The writer: it writes one batch after the other, and delivers what each held back.
//!
//! It is a thread of its own, because a store blocks; a store that says that it does not is written by a task. It
//! keeps no service alive, and ends with the last handle, after it has written what was left.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

use tokio::sync::{Notify, oneshot};

use super::{Ending, Snapshot, split::split};
use crate::{
    failure::Failure,
    service::Service,
    state::{Phase, State},
    store::{Store, StoreError},
};

/// Writes the batches of a service to its store.
pub(crate) struct Writer {
    store: Box<dyn Store>,
    service: Weak<Service>,
    signal: Arc<Signal>,
}

/// What a step of the writer did.
#[derive(Debug)]
pub(crate) enum Step {
    /// A batch is durable.
    Wrote,
    /// There was nothing to write.
    Idle,
    /// The service has failed, so nothing is written any more.
    Failed,
    /// Everything is durable. The store is to be released, and these are to be told then.
    Closed(Vec<oneshot::Sender<Result<(), StoreError>>>),
}

/// Wakes the writer, and hands over what the last handle left.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    slot: Mutex<Slot>,
    thread: Condvar,
    task: Notify,
}

#[derive(Debug, Default)]
struct Slot {
    is_set: bool,
    rest: Vec<Snapshot>,
}

impl Signal {
    /// Wakes the writer, now or as soon as it waits.
    pub(crate) fn wake(&self) {
        self.lock().is_set = true;
        self.thread.notify_one();
        self.task.notify_one();
    }

    /// The service has ended. These batches are to be written all the same.
    pub(crate) fn leave(&self, rest: Vec<Snapshot>) {
        self.lock().rest = rest;
        self.wake();
    }

    fn wait(&self) {
        let mut slot = self.lock();
        while !mem::take(&mut slot.is_set) {
            slot = self.thread.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    pub(crate) fn new(store: Box<dyn Store>, service: &Arc<Service>) -> Self {
        Self { store, service: Arc::downgrade(service), signal: Arc::clone(&service.writer) }
    }

    /// Writes batches until there are none left.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub(crate) fn write_all(&mut self, service: &Service) -> Result<(), StoreError> {
        loop {
            match self.step(service) {
                Step::Wrote => {}
                Step::Idle => return Ok(()),
                Step::Failed | Step::Closed(_) => return Err(service.store_error()),
            }
        }
    }

    /// Starts the thread or the task.
    pub(crate) fn spawn(self) -> Result<(), StoreError> {
        let armed = Armed(Some(self));
        if !armed.writer().store.blocks() {
            tokio::spawn(run_as_task(armed));
            return Ok(());
        }
        let thread = thread::Builder::new().name("throttle-store".to_owned());
        let spawned = thread.spawn(move || run_as_thread(armed));
        let error =
            |error| StoreError::new(format!("the thread of the store cannot start: {error}"));
        spawned.map(drop).map_err(error)
    }

    /// Writes the next batch, if there is one, and delivers what it held back.
    pub(crate) fn step(&mut self, service: &Service) -> Step {
        match service.take_batch() {
            Next::Batch(snapshot) => self.finish(service, snapshot),
            Next::Idle => Step::Idle,
            Next::Failed => Step::Failed,
            Next::Close(told) => Step::Closed(told),
        }
    }

    /// The first half of a step.
    #[cfg(test)]
    pub(crate) fn take(&self, service: &Service) -> Option<Snapshot> {
        match service.take_batch() {
            Next::Batch(snapshot) => Some(snapshot),
            Next::Idle | Next::Failed | Next::Close(_) => None,
        }
    }

    /// Makes a batch that was taken durable, and delivers what it held back.
    pub(crate) fn finish(&mut self, service: &Service, snapshot: Snapshot) -> Step {
        match self.write(snapshot) {
            Ok(()) => {
                service.batch_is_durable();
                Step::Wrote
            }
            Err(error) => {
                service.fail_store(error);
                Step::Failed
            }
        }
    }

    fn write(&mut self, snapshot: Snapshot) -> Result<(), StoreError> {
        let store = &mut self.store;
        let write = AssertUnwindSafe(|| {
            let batches = split(snapshot, store.max_batch());
            batches.iter().try_for_each(|batch| store.write(batch))
        });
        catch_unwind(write).unwrap_or_else(|_| Err(StoreError::new("the store panicked")))
    }

    /// Writes what was left when the last handle was dropped. Nobody waits for it.
    fn write_rest(&mut self) {
        let rest = mem::take(&mut self.signal.lock().rest);
        for snapshot in rest {
            if let Err(error) = self.write(snapshot) {
                tracing::error!(%error, "the last changes were not stored");
                return;
            }
        }
    }
}

/// A writer whose end, if nobody wants it, is a failure of its service.
struct Armed(Option<Writer>);

impl Armed {
    fn writer(&self) -> &Writer {
        self.0.as_ref().expect("it is disarmed only at its end")
    }

    /// Works until there is nothing to do. Returns whether it goes on then.
    fn work(&mut self) -> bool {
        let writer = self.0.as_mut().expect("it is disarmed only at its end");
        while let Some(service) = writer.service.upgrade() {
            match writer.step(&service) {
                Step::Wrote => {}
                Step::Idle => return true,
                Step::Failed => {
                    self.0 = None;
                    return false;
                }
                Step::Closed(told) => {
                    self.0 = None;
                    service.store_is_released();
                    told.into_iter().for_each(|told| drop(told.send(Ok(()))));
                    return false;
                }
            }
        }
        writer.write_rest();
        self.0 = None;
        false
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let Some(Writer { service, .. }) = &self.0 else { return };
        if let Some(service) = service.upgrade() {
            service.fail_store(StoreError::new("the writer of the store is gone"));
        }
    }
}

fn run_as_thread(mut writer: Armed) {
    let signal = Arc::clone(&writer.writer().signal);
    while writer.work() {
        signal.wait();
    }
}

async fn run_as_task(mut writer: Armed) {
    let signal = Arc::clone(&writer.writer().signal);
    while writer.work() {
        signal.task.notified().await;
    }
}

/// What the writer has to do next.
enum Next {
    Batch(Snapshot),
    Close(Vec<oneshot::Sender<Result<(), StoreError>>>),
    Failed,
    Idle,
}

impl Service {
    fn take_batch(&self) -> Next {
        self.guarded(|| self.take_next())
    }

    fn take_next(&self) -> Next {
        let Some(mut state) = self.lock() else { return Next::Failed };
        let State { journal, throttle, names, lease_clock, .. } = &mut *state;
        let journal = journal.as_mut().expect("a service with a writer has a journal");
        if let Ending::Failed(_) | Ending::Closed = journal.ending {
            return Next::Failed;
        }
        let (stalled, observed) = (lease_clock.discounted(), lease_clock.observed());
        if let Some(snapshot) = journal.take_batch(throttle, names, stalled, observed) {
            return Next::Batch(snapshot);
        }
        if let Ending::Closing(told) = &mut journal.ending {
            return Next::Close(mem::take(told));
        }
        journal.writer_is_idle = true;
        Next::Idle
    }

    fn batch_is_durable(&self) {
        // If an operation panicked meanwhile, it has taken what was held back.
        let held = self.lock().and_then(|mut state| Some(state.journal.as_mut()?.durable()));
        held.unwrap_or_default().deliver();
    }

    /// Ends the service because nothing can be made durable any more.
    pub(crate) fn fail_store(&self, error: StoreError) {
        let Some(mut state) = self.lock() else { return };
        self.failure.add(Failure::Store);
        state.phase = Phase::Ended;
        let waits = state.waits.take_all();
        let journal = state.journal.as_mut().expect("a service with a writer has a journal");
        let held = journal.take_held();
        let before = mem::replace(&mut journal.ending, Ending::Failed(error.clone()));
        drop(state);
        // Their senders are dropped, so all of them end with `Error::StoreFailed`.
        drop((waits, held));
        if let Ending::Closing(told) = before {
            told.into_iter().for_each(|told| drop(told.send(Err(error.clone()))));
        }
        self.rearm.notify_one();
    }

    fn store_is_released(&self) {
        if let Some(mut state) = self.lock()
            && let Some(journal) = &mut state.journal
        {
            journal.ending = Ending::Closed;
        }
    }

    /// Why nothing can be stored.
    pub(crate) fn store_error(&self) -> StoreError {
        let state = self.lock();
        match state.as_ref().and_then(|state| state.journal.as_ref()).map(|it| &it.ending) {
            Some(Ending::Failed(error)) => error.clone(),
            _ => StoreError::new("the service has failed, so its store is not written any more"),
        }
    }
}
