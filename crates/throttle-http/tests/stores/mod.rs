//! A store in memory, which outlives the service that writes to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use throttle_runtime::{
    AbsentRecord, Batch, Meta, PeerChange, PeerId, PeerRecord, Record, SemaphoreRecord, Store,
    StoreError,
};

/// What is kept, as on a disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    meta: Option<Meta>,
    semaphores: BTreeMap<Arc<str>, SemaphoreRecord>,
    peers: BTreeMap<PeerId, PeerRecord>,
    absent: BTreeMap<PeerId, AbsentRecord>,
    /// How many stores were opened on it.
    opened: u64,
}

/// The store of one process. It fails once another one is opened: its process counts as dead.
#[derive(Debug)]
struct MemoryStore {
    disk: Disk,
    opened: u64,
}

impl Disk {
    pub(crate) fn open(&self) -> Box<dyn Store> {
        let mut kept = self.kept();
        kept.opened += 1;
        Box::new(MemoryStore { disk: self.clone(), opened: kept.opened })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics with this lock")
    }
}

impl Store for MemoryStore {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        let kept = self.disk.kept();
        kept.semaphores.values().cloned().try_for_each(|it| receive(Record::Semaphore(it)))?;
        kept.peers.values().cloned().try_for_each(|it| receive(Record::Peer(it)))?;
        kept.absent.values().copied().try_for_each(|it| receive(Record::Absent(it)))?;
        Ok(kept.meta)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        assert!(batch.len() <= self.max_batch(), "{batch:?}");
        let mut kept = self.disk.kept();
        if kept.opened != self.opened {
            return Err(StoreError::new("another process writes to this disk"));
        }
        let Kept { meta, semaphores, peers, absent, .. } = &mut *kept;
        *meta = batch.meta.or(*meta);
        for (name, semaphore) in &batch.semaphores {
            semaphores.remove(name);
            semaphores.extend(semaphore.clone().map(|semaphore| (Arc::clone(name), semaphore)));
        }
        for (id, change) in &batch.peers {
            peers.remove(id);
            absent.remove(id);
            match change {
                PeerChange::Living(peer) => peers.extend([(*id, peer.clone())]),
                PeerChange::Absent(record) => absent.extend([(*id, *record)]),
                PeerChange::Gone => {}
            }
        }
        Ok(())
    }

    fn max_batch(&self) -> usize {
        64
    }

    fn blocks(&self) -> bool {
        false
    }
}
