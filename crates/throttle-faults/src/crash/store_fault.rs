//! Stores that break a promise on purpose, to prove that the checker finds it.
//!
//! Each fault but one wraps a sound store; the other one wraps its file. None of them is part of the product.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    sync::mpsc,
    time::Duration,
};

use clap::ValueEnum;
use throttle_runtime::{
    Batch, Count, FencingToken, Meta, PeerChange, PeerId, Record, Sequence, Store, StoreError,
};

/// How a store is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum StoreFault {
    /// Writes reach the store some time after they are reported as durable. A kill loses what is on its way.
    AnswersBeforeDurability,
    /// Of twenty syncs of the file, one reaches the disk. A kill loses what came after it.
    DropsUnsynced,
    /// The numbers of requests are not loaded, neither of living peers nor of absent ones.
    ForgetsSequences,
    /// Tokens are not loaded, so the next process counts them from the start.
    ForgetsTokens,
    /// Nothing is broken, to see that the wrapper itself keeps all promises.
    None,
    /// Pending locks are not loaded.
    LosesWaiters,
    /// Counts that were shrunk are not written until the peer changes in another way.
    KeepsCounts,
    /// Peers that are gone are not removed.
    KeepsRemovedPeers,
    /// The queue is loaded in the reverse order.
    ReversesQueues,
    /// Leases are loaded with a tenth of their length, as if the outage was charged to the peers.
    ShortensLeases,
}

impl Display for StoreFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value().expect("no variant is skipped");
        f.pad(name.get_name())
    }
}

/// A sound store behind a fault.
#[derive(Debug)]
pub struct FaultyStore<S> {
    fault: StoreFault,
    /// `None` once a thread of its own writes.
    inner: Option<S>,
    late: Option<mpsc::Sender<Batch>>,
    max_batch: usize,
    /// The counts as they were written, by peer and token.
    counts: BTreeMap<(PeerId, FencingToken), Count>,
}

impl<S: Store> FaultyStore<S> {
    /// Breaks a sound store.
    pub fn new(inner: S, fault: StoreFault) -> Self {
        let max_batch = inner.max_batch();
        Self { fault, inner: Some(inner), late: None, max_batch, counts: BTreeMap::new() }
    }

    /// Passes the batch to a thread that writes it later.
    fn write_late(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if let Some(store) = self.inner.take() {
            let (sender, batches) = mpsc::channel();
            self.late = Some(sender);
            std::thread::spawn(move || write_each_late(store, &batches));
        }
        let late = self.late.as_ref().expect("the thread was started above");
        late.send(batch.clone()).map_err(|_| StoreError::new("the late store has failed"))
    }

    /// The batch as this fault writes it.
    fn spoil(&mut self, batch: &Batch) -> Batch {
        let mut batch = batch.clone();
        if self.fault == StoreFault::KeepsRemovedPeers {
            batch.peers.retain(|(_, change)| matches!(change, PeerChange::Living(_)));
        }
        if self.fault == StoreFault::KeepsCounts {
            for (id, change) in &mut batch.peers {
                if let PeerChange::Living(peer) = change {
                    for lock in &mut peer.held {
                        lock.count = *self.counts.entry((*id, lock.token)).or_insert(lock.count);
                    }
                }
            }
        }
        batch
    }

    fn spoil_record(&self, record: &mut Record) {
        match record {
            Record::Peer(peer) => {
                if self.fault == StoreFault::ForgetsSequences {
                    peer.sequence = Sequence::default();
                }
                if self.fault == StoreFault::LosesWaiters {
                    peer.pending = None;
                }
                if self.fault == StoreFault::ShortensLeases {
                    peer.expires_in /= 10;
                }
            }
            Record::Semaphore(semaphore) if self.fault == StoreFault::ForgetsTokens => {
                semaphore.last_token = NO_TOKEN;
            }
            Record::Semaphore(_) | Record::Absent(_) => {}
        }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        let mut records = Vec::new();
        let store = self.inner.as_mut().expect("a store is loaded before it is written");
        let meta = store.load(&mut |record| {
            records.push(record);
            Ok(())
        })?;
        if self.fault == StoreFault::ReversesQueues {
            reverse_queues(&mut records);
        }
        if self.fault == StoreFault::ForgetsSequences {
            records.retain(|record| !matches!(record, Record::Absent(_)));
        }
        for mut record in records {
            self.spoil_record(&mut record);
            receive(record)?;
        }
        let forgets_tokens = self.fault == StoreFault::ForgetsTokens;
        Ok(meta.map(
            |meta| {
                if forgets_tokens { Meta { token_floor: NO_TOKEN, ..meta } } else { meta }
            },
        ))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.fault == StoreFault::AnswersBeforeDurability {
            return self.write_late(batch);
        }
        let batch = self.spoil(batch);
        self.inner.as_mut().expect("only late writes have their own thread").write(&batch)
    }

    fn max_batch(&self) -> usize {
        self.max_batch
    }
}

/// Writes what has arrived, always some time after it arrived.
fn write_each_late(
    mut store: impl Store,
    batches: &mpsc::Receiver<Batch>,
) -> Result<(), StoreError> {
    while let Ok(first) = batches.recv() {
        std::thread::park_timeout(DELAY);
        for batch in std::iter::once(first).chain(batches.try_iter()) {
            store.write(&batch)?;
        }
    }
    Ok(())
}

/// The last waiter gets the ticket of the first one, and so on.
fn reverse_queues(records: &mut [Record]) {
    let mut waiters = records
        .iter_mut()
        .filter_map(|record| match record {
            Record::Peer(peer) => peer.pending.as_mut(),
            _ => None,
        })
        .collect::<Vec<_>>();
    let mut tickets = waiters.iter().map(|waiter| waiter.ticket).collect::<Vec<_>>();
    waiters.sort_by_key(|waiter| waiter.ticket);
    tickets.sort_unstable();
    for (waiter, ticket) in waiters.into_iter().zip(tickets.into_iter().rev()) {
        waiter.ticket = ticket;
    }
}

const NO_TOKEN: FencingToken = FencingToken::new(0).expect("zero is a number of 53 bits");

/// How much later than reported a late store writes.
const DELAY: Duration = Duration::from_millis(5);
