//! The end of a service whose state is to survive: it is saved, or its store is closed.

use std::{mem, sync::Arc, time::Duration};

use throttle_core::{FencingToken, PeerCursor};
use tokio::sync::oneshot;

use crate::{
    clock::Clock,
    handle::Handle,
    journal::{Converter, Ending, semaphore_record},
    state::State,
    store::{Batch, Meta, PeerChange, PeerRecord, Store, StoreError},
};

/// What was saved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Saved {
    /// How many peers.
    pub peers: u64,
    /// How many locks they hold.
    pub locks: u64,
    /// How many of them wait for a lock.
    pub waiters: u64,
    /// How long it took.
    pub took: Duration,
}

impl Handle {
    /// Writes the whole state to `store`, which must be empty, so that a later service can
    /// [begin with it](crate::Builder::recover_from). If it fails, a part of the state may be written. The meta record
    /// is in the first batch.
    ///
    /// From then on the service does nothing more: all operations fail with
    /// [`Error::StoreFailed`](crate::Error::StoreFailed), whether this succeeds or not. It blocks the thread, for
    /// about a second for each million peers. Call it when the service is drained and before the process ends.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of the store, and if the service has failed.
    pub fn save(&self, store: &mut dyn Store) -> Result<Saved, StoreError> {
        let clock = Clock::start();
        let (converter, token_floor) = self.freeze()?;
        let mut saving = Saving::new(store);
        saving.batch.meta = Some(Meta { token_floor, ..self.service.memory.meta });
        self.save_semaphores(&mut saving, &converter)?;
        self.save_peers(&mut saving, &converter)?;
        saving.write()?;
        Ok(Saved { took: clock.elapsed(), ..saving.saved })
    }

    /// Ends the service, and returns what is needed to convert its records.
    fn freeze(&self) -> Result<(Converter, FencingToken), StoreError> {
        let Some(mut state) = self.service.lock().filter(|_| self.failure().is_none()) else {
            return Err(StoreError::new("the service has failed, so its state cannot be saved"));
        };
        let waits = state.end();
        let converter = Converter {
            names: Arc::clone(&state.names),
            calendar: self.service.memory.calendar,
            stalled: state.lease_clock.discounted(),
        };
        let token_floor = state.throttle.token_floor();
        drop(state);
        drop(waits);
        Ok((converter, token_floor))
    }

    fn save_semaphores(
        &self,
        saving: &mut Saving<'_>,
        converter: &Converter,
    ) -> Result<(), StoreError> {
        for entries in converter.names.entries().chunks(PAGE) {
            let records = self.read_frozen(|state| {
                let ids = entries.iter().map(|entry| entry.id);
                ids.filter_map(|id| semaphore_record(&state.throttle, &state.names, id)).collect()
            })?;
            let records: Vec<_> = records;
            for record in records {
                saving.room()?.semaphores.push((Arc::clone(&record.name), Some(record)));
            }
        }
        Ok(())
    }

    fn save_peers(&self, saving: &mut Saving<'_>, converter: &Converter) -> Result<(), StoreError> {
        let mut after: Option<PeerCursor> = None;
        loop {
            let page: Vec<_> =
                self.read_frozen(|state| state.throttle.records(after).take(PAGE).collect())?;
            let Some(&(last, _)) = page.last() else { break };
            after = Some(last);
            for (_, record) in page {
                saving.peer(converter.peer_record(record))?;
            }
        }
        let absent: Vec<_> = self.read_frozen(|state| state.throttle.absent_peers().collect())?;
        for (peer, sequence, since) in absent {
            let change = PeerChange::Absent(converter.absent_record(peer, sequence, since));
            saving.room()?.peers.push((peer, change));
        }
        Ok(())
    }

    /// Reads the state of a service that has ended, so that it does not change between two reads.
    fn read_frozen<R>(&self, read: impl FnOnce(&State) -> R) -> Result<R, StoreError> {
        let failed = || StoreError::new("the service has failed while its state was saved");
        Ok(read(&*self.service.lock().ok_or_else(failed)?))
    }

    /// Waits until everything is durable, and releases the store. From then on all operations fail with
    /// [`Error::StoreFailed`](crate::Error::StoreFailed).
    ///
    /// Call it when the service is drained and before the process ends. Without a store it returns at once, and
    /// the service goes on.
    ///
    /// # Errors
    ///
    /// The error with which the store has failed, then or earlier.
    pub async fn close(&self) -> Result<(), StoreError> {
        let Some(closed) = self.begin_to_close()? else { return Ok(()) };
        closed.await.unwrap_or_else(|_| Err(self.service.store_error()))
    }

    /// `None` if there is nothing to wait for.
    fn begin_to_close(
        &self,
    ) -> Result<Option<oneshot::Receiver<Result<(), StoreError>>>, StoreError> {
        let Some(mut state) = self.service.lock() else { return Err(self.service.store_error()) };
        let Some(journal) = &mut state.journal else { return Ok(None) };
        let (told, closed) = oneshot::channel();
        match &mut journal.ending {
            Ending::Closed => return Ok(None),
            Ending::Failed(error) => return Err(error.clone()),
            Ending::Closing(others) => others.push(told),
            Ending::Open => journal.ending = Ending::Closing(vec![told]),
        }
        journal.must_wake_writer();
        let waits = state.end();
        drop(state);
        drop(waits);
        self.service.writer.wake();
        Ok(Some(closed))
    }
}

/// A state that is being written.
struct Saving<'a> {
    store: &'a mut dyn Store,
    limit: usize,
    batch: Batch,
    saved: Saved,
}

impl<'a> Saving<'a> {
    fn new(store: &'a mut dyn Store) -> Self {
        let limit = store.max_batch().clamp(1, PAGE);
        Self { store, limit, batch: Batch::default(), saved: Saved::default() }
    }

    fn peer(&mut self, record: PeerRecord) -> Result<(), StoreError> {
        self.saved.peers += 1;
        self.saved.locks += record.held.len() as u64;
        self.saved.waiters += u64::from(record.pending.is_some());
        self.room()?.peers.push((record.id, PeerChange::Living(record)));
        Ok(())
    }

    /// A batch with room for one more record.
    fn room(&mut self) -> Result<&mut Batch, StoreError> {
        if self.batch.len() >= self.limit {
            self.write()?;
        }
        Ok(&mut self.batch)
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.store.write(&mem::take(&mut self.batch))
    }
}

/// How many records are read, and written, in one step.
const PAGE: usize = 4_096;
