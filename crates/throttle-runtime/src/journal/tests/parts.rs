//! D3: how a batch that is too large is written in parts.

use throttle_core::Level;

use super::*;
use crate::journal::split::split;

/// A gives M to B, and B gives N to A. Whichever of them is written alone shows a lock at both.
#[tokio::test(start_paused = true)]
async fn peers_that_exchange_their_locks_are_in_one_part() {
    let config = |level| SemaphoreConfig { max: Count::ONE, level: Level(level) };
    let semaphores = [("M".to_owned(), config(1)), ("N".to_owned(), config(0))];
    let store = MemoryStore::new();
    let mut service = Service::with_config(store, semaphores.into(), Duration::ZERO);
    let (a, b) = (service.hold("M").await, service.hold("N").await);
    let handle = service.handle.clone();
    assert!(poll(&mut Box::pin(handle.acquire(a, "N", NOW))).is_pending());
    service.flush();
    let before = service.store.contents();

    assert!(poll(&mut Box::pin(handle.release(b, "N", None))).is_pending());
    assert!(poll(&mut Box::pin(handle.release(a, "M", None))).is_pending());
    assert!(poll(&mut Box::pin(handle.acquire(b, "M", NOW))).is_pending());
    let bystanders = (0..3).map(|_| Box::pin(handle.new_peer(LEASE, Labels::default())));
    bystanders.for_each(|mut joins| assert!(poll(&mut joins).is_pending()));
    let batch = service.writer.take(&handle.service).expect("something gathered");
    let parts = split(batch, 2);
    assert!(parts.len() > 3 && parts.iter().all(|part| part.len() <= 2), "{parts:#?}");
    let mut image = before;
    for part in parts {
        image.apply(&part);
        for semaphore in ["M", "N"] {
            assert!(image.held(semaphore) <= 1, "{semaphore} is held twice: {image:#?}");
        }
    }
    let holds = |peer: &PeerId| image.peers[peer].held[0].semaphore.to_string();
    assert_eq!((holds(&a), holds(&b)), ("N".to_owned(), "M".to_owned()));
}
