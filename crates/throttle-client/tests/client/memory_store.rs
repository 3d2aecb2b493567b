//! A store that outlives the services that write to it, as a file outlives their processes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use throttle_runtime::{
    AbsentRecord, Batch, FencingToken, Meta, PeerChange, PeerId, PeerRecord, Record,
    SemaphoreRecord, Store, StoreError, UnixTime,
};

/// What is kept. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    semaphores: BTreeMap<Arc<str>, SemaphoreRecord>,
    peers: BTreeMap<PeerId, PeerRecord>,
    absent: BTreeMap<PeerId, AbsentRecord>,
    /// How many services have used it.
    services: u64,
}

/// The disk as one service sees it, until the next one begins.
struct MemoryStore {
    disk: Disk,
    service: u64,
}

impl Disk {
    /// The store of the next service. That of the one before accepts nothing more, as if its process had been killed.
    pub(crate) fn next_service(&self) -> Box<dyn Store> {
        let mut kept = self.0.lock().unwrap();
        kept.services += 1;
        Box::new(MemoryStore { disk: self.clone(), service: kept.services })
    }
}

impl Store for MemoryStore {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        let kept = self.disk.0.lock().unwrap();
        kept.semaphores.values().cloned().map(Record::Semaphore).try_for_each(&mut *receive)?;
        kept.peers.values().cloned().map(Record::Peer).try_for_each(&mut *receive)?;
        kept.absent.values().copied().map(Record::Absent).try_for_each(&mut *receive)?;
        // Older than all peers, by far.
        let token_floor = FencingToken::new(1).unwrap();
        Ok(Some(Meta { id: 1, made_at: UnixTime(0), token_floor }))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut kept = self.disk.0.lock().unwrap();
        if kept.services != self.service {
            return Err(StoreError::new("the process was killed"));
        }
        for (name, semaphore) in &batch.semaphores {
            kept.semaphores.remove(name);
            kept.semaphores.extend(semaphore.clone().map(|it| (Arc::clone(name), it)));
        }
        for (id, change) in &batch.peers {
            kept.peers.remove(id);
            kept.absent.remove(id);
            match change {
                PeerChange::Living(peer) => drop(kept.peers.insert(*id, peer.clone())),
                PeerChange::Absent(absent) => drop(kept.absent.insert(*id, *absent)),
                PeerChange::Gone => {}
            }
        }
        Ok(())
    }

    fn max_batch(&self) -> usize {
        1_000
    }

    fn blocks(&self) -> bool {
        false
    }
}
