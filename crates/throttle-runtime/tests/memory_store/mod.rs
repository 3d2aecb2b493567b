//! A store in memory for tests. It survives the service, fails when it is told to, and remembers what it had after
//! each batch.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use throttle_runtime::{
    AbsentRecord, Batch, Meta, PeerChange, PeerId, PeerRecord, Record, SemaphoreRecord, Store,
    StoreError,
};

/// What a store keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Contents {
    pub(crate) meta: Option<Meta>,
    pub(crate) semaphores: BTreeMap<Arc<str>, SemaphoreRecord>,
    pub(crate) peers: BTreeMap<PeerId, PeerRecord>,
    pub(crate) absent: BTreeMap<PeerId, AbsentRecord>,
}

impl Contents {
    /// Checks that the batch is one that a store accepts, and applies it.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        self.meta = batch.meta.or(self.meta);
        for (name, record) in &batch.semaphores {
            match record {
                Some(record) => self.semaphores.insert(Arc::clone(name), record.clone()),
                None => self.semaphores.remove(name),
            };
        }
        for (peer, change) in &batch.peers {
            self.peers.remove(peer);
            self.absent.remove(peer);
            match change {
                PeerChange::Living(record) => drop(self.peers.insert(*peer, record.clone())),
                PeerChange::Absent(record) => drop(self.absent.insert(*peer, *record)),
                PeerChange::Gone => {}
            }
        }
    }

    /// How much of a semaphore is held.
    pub(crate) fn held(&self, semaphore: &str) -> u64 {
        let locks = self.peers.values().flat_map(|peer| &peer.held);
        locks.filter(|lock| &*lock.semaphore == semaphore).map(|lock| lock.count.get()).sum()
    }
}

/// What happens at a write.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Plan {
    #[default]
    Succeed,
    Fail,
    Panic,
}

/// A store whose clones share their contents.
#[derive(Clone, Debug)]
pub(crate) struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
    max_batch: usize,
}

#[derive(Debug, Default)]
struct Shared {
    contents: Contents,
    plan: Plan,
    images: Vec<Contents>,
    largest: usize,
    is_open: bool,
}

impl MemoryStore {
    pub(crate) fn new() -> Self {
        Self::of(Contents::default())
    }

    /// A store that has this.
    pub(crate) fn of(contents: Contents) -> Self {
        let shared = Shared { contents, ..Shared::default() };
        Self { shared: Arc::new(Mutex::new(shared)), max_batch: 1_000 }
    }

    pub(crate) fn with_max_batch(self, max_batch: usize) -> Self {
        Self { max_batch, ..self }
    }

    /// What a service is given.
    pub(crate) fn open(&self) -> Box<dyn Store> {
        assert!(!mem::replace(&mut self.lock().is_open, true), "it is open already");
        Box::new(Open(self.clone()))
    }

    /// Whether a service has it.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().is_open
    }

    pub(crate) fn contents(&self) -> Contents {
        self.lock().contents.clone()
    }

    /// What it had after each batch since the last call.
    pub(crate) fn take_images(&self) -> Vec<Contents> {
        mem::take(&mut self.lock().images)
    }

    /// The number of records in the largest batch.
    pub(crate) fn largest_batch(&self) -> usize {
        self.lock().largest
    }

    pub(crate) fn plan(&self, plan: Plan) {
        self.lock().plan = plan;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("it panics after it is unlocked")
    }
}

struct Open(MemoryStore);

impl Store for Open {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        let Contents { meta, semaphores, peers, absent } = self.0.contents();
        semaphores.into_values().try_for_each(|record| receive(Record::Semaphore(record)))?;
        peers.into_values().try_for_each(|record| receive(Record::Peer(record)))?;
        absent.into_values().try_for_each(|record| receive(Record::Absent(record)))?;
        Ok(meta)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let plan = self.0.lock().plan;
        match plan {
            Plan::Succeed => {
                assert!(!batch.is_empty(), "an empty batch is not written");
                let mut shared = self.0.lock();
                shared.contents.apply(batch);
                shared.largest = shared.largest.max(batch.len());
                let image = shared.contents.clone();
                shared.images.push(image);
                Ok(())
            }
            Plan::Fail => Err(StoreError::new("the disk is full")),
            Plan::Panic => panic!("a defect that the test wants"),
        }
    }

    fn max_batch(&self) -> usize {
        self.0.max_batch
    }

    fn blocks(&self) -> bool {
        false
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().is_open = false;
    }
}
