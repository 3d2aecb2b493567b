//! Tests of a store that blocks, so that it has a thread of its own. They run in real time.

use std::sync::mpsc::{Receiver, Sender, channel};

use throttle_runtime::{
    Batch, Error, Failure, Handle, Labels, LockRequest, Meta, Record, Settings, Store, StoreError,
};

use crate::support::{LEASE, configure, count};

/// A store that says which batch it has got, and writes it when it is told to.
struct Gate {
    batches: Sender<Batch>,
    outcomes: Receiver<Result<(), StoreError>>,
}

impl Store for Gate {
    fn load(
        &mut self,
        _: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        Ok(None)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let _ = self.batches.send(batch.clone());
        self.outcomes.recv().unwrap_or(Ok(()))
    }

    fn max_batch(&self) -> usize {
        100
    }
}

/// A service whose store has its first batch already, and the other ends of its store.
fn start() -> (Handle, Receiver<Batch>, Sender<Result<(), StoreError>>) {
    let (batches, received) = channel();
    let (decide, outcomes) = channel();
    decide.send(Ok(())).expect("the store is there");
    let semaphores = configure(&[("A", 1)]);
    let builder = Handle::builder(Settings::default(), &semaphores);
    let handle = builder.store(Box::new(Gate { batches, outcomes })).start().unwrap();
    assert!(received.recv().unwrap().meta.is_some());
    (handle, received, decide)
}

#[tokio::test]
async fn requests_go_on_while_a_thread_writes_and_later_ones_share_a_batch() {
    let (handle, batches, decide) = start();
    let join = |handle: &Handle| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.new_peer(LEASE, Labels::default()).await })
    };
    let first = join(&handle);
    tokio::task::yield_now().await;
    assert_eq!(batches.recv().unwrap().peers.len(), 1);
    let others: Vec<_> = (0..10).map(|_| join(&handle)).collect();
    tokio::task::yield_now().await;
    assert_eq!(handle.applied().peer_count(), Ok(11), "they are applied");
    assert!(!first.is_finished() && others.iter().all(|other| !other.is_finished()));
    decide.send(Ok(())).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(batches.recv().unwrap().peers.len(), 10, "they are one batch");
    decide.send(Ok(())).unwrap();
    for other in others {
        let peer = other.await.unwrap().unwrap();
        assert_eq!(handle.heartbeat(peer, LEASE).await, Ok(()));
    }
    handle.close().await.unwrap();
    assert!(batches.recv().is_err(), "the store is released");
}

/// D4
#[tokio::test]
async fn a_thread_whose_store_fails_ends_the_service() {
    let (handle, batches, decide) = start();
    let clone = handle.clone();
    let joined = tokio::spawn(async move { clone.new_peer(LEASE, Labels::default()).await });
    tokio::task::yield_now().await;
    batches.recv().unwrap();
    decide.send(Err(StoreError::new("the disk is gone"))).unwrap();
    assert_eq!(handle.failed().await, Failure::Store);
    assert_eq!(joined.await.unwrap(), Err(Error::StoreFailed));
    assert_eq!(handle.close().await.unwrap_err().to_string(), "the disk is gone");
    let request = LockRequest::now(count(1));
    let peer = throttle_runtime::PeerId::new(7).unwrap();
    assert_eq!(handle.acquire(peer, "A", request).await, Err(Error::StoreFailed));
}
