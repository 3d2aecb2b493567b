//! Tests of the journal. They decide themselves when the writer takes a batch and when it is durable.

#[path = "../../../tests/memory_store/mod.rs"]
mod memory_store;

mod durability;
mod failures;
mod parts;
mod prefixes;

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use throttle_core::{Count, Labels, Level, PeerId, Settings};

use self::memory_store::MemoryStore;
use super::writer::{Step, Writer};
use crate::{
    clock::WallClock,
    entropy::Entropy,
    handle::{Handle, LockRequest},
    names::SemaphoreConfig,
    world::World,
};

const LEASE: Duration = Duration::from_secs(60);
const NOW: LockRequest = LockRequest::now(Count::ONE);

/// A service with a store whose writer does nothing on its own.
struct Service {
    handle: Handle,
    writer: Writer,
    store: MemoryStore,
}

fn configure(semaphores: &[(&str, u64)]) -> BTreeMap<String, SemaphoreConfig> {
    let semaphores = semaphores.iter().map(|&(name, max)| {
        let max = Count::new(max).expect("a positive count");
        (name.to_owned(), SemaphoreConfig { max, level: Level(0) })
    });
    semaphores.collect()
}

impl Service {
    fn start(semaphores: &[(&str, u64)]) -> Self {
        Self::with(MemoryStore::new(), semaphores)
    }

    /// A service that continues with what the store has.
    fn with(store: MemoryStore, semaphores: &[(&str, u64)]) -> Self {
        Self::with_config(store, configure(semaphores), Duration::ZERO)
    }

    /// The same, so much later on the wall clock.
    fn with_config(
        store: MemoryStore,
        semaphores: BTreeMap<String, SemaphoreConfig>,
        later: Duration,
    ) -> Self {
        let wall_clock = WallClock::at(Duration::from_secs(1_800_000_000) + later);
        let world = World { entropy: Entropy::from_system(), wall_clock };
        let builder = Handle::builder(Settings::default(), &semaphores).store(store.open());
        let (handle, writer) = Handle::prepare(world, builder).expect("the store is sound");
        store.take_images();
        Self { handle, writer: writer.expect("there is a store"), store }
    }

    /// Makes everything durable.
    fn flush(&mut self) {
        while let Step::Wrote = self.writer.step(&self.handle.service) {}
    }

    /// A peer that is durable.
    async fn join(&mut self) -> PeerId {
        let handle = self.handle.clone();
        let mut joined = Box::pin(handle.new_peer(LEASE, Labels::default()));
        assert!(poll(&mut joined).is_pending(), "it is not durable yet");
        self.flush();
        ready(&mut joined).expect("there is room")
    }

    /// A durable peer that holds one of a semaphore, which is durable too.
    async fn hold(&mut self, semaphore: &str) -> PeerId {
        let peer = self.join().await;
        let handle = self.handle.clone();
        let mut held = Box::pin(handle.acquire(peer, semaphore, NOW));
        assert!(poll(&mut held).is_pending(), "it is not durable yet");
        self.flush();
        assert!(ready(&mut held).expect("it is free").is_granted());
        peer
    }
}

/// Polls a future once.
fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that is ready.
fn ready<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> F::Output {
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is not ready"),
    }
}
