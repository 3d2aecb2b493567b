//! D1 and D3: what is shown before it is durable, and how changes gather.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use throttle_core::{Admission, Count, Release, Sequence};

use super::*;
use crate::{error::Error, handle::Restoration, journal::MAX_SEALED};

const SECOND: Duration = Duration::from_secs(1);
const WAIT: LockRequest =
    LockRequest { block_for: Some(Duration::from_secs(30)), ..LockRequest::now(Count::ONE) };

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// Every kind of answer that shows the state of other peers, as a text.
fn all_reads(handle: &Handle, unknown: PeerId) -> Vec<(&'static str, Answer<String>)> {
    macro_rules! read {
        ($name:literal, $handle:ident => $read:expr) => {{
            let $handle = handle.clone();
            let read: Answer<String> = Box::pin(async move {
                let answer = $read.await;
                Ok(format!("{answer:?}"))
            });
            ($name, read)
        }};
    }
    let nothing = Restoration {
        peer: unknown,
        expires_in: LEASE,
        locks: BTreeMap::from([("A".to_owned(), Count::ONE)]),
        labels: Labels::default(),
        sequence: Some(Sequence::default()),
    };
    vec![
        read!("acquire refused", it => it.acquire(unknown, "A", NOW)),
        read!("heartbeat refused", it => it.heartbeat(unknown, LEASE)),
        read!("release refused", it => it.release(unknown, "A", None)),
        read!("restore refused", it => it.restore(Restoration { sequence: None, ..nothing.clone() })),
        read!("remove nobody", it => it.remove_peer(unknown, None)),
        read!("is_acquired", it => it.is_acquired(unknown)),
        read!("remainder", it => it.remainder("A")),
        read!("peer", it => it.peer(unknown)),
        read!("peers", it => it.peers(None, 10)),
        read!("peer_count", it => it.peer_count()),
        read!("semaphores", it => it.semaphores()),
        read!("semaphore", it => it.semaphore("A")),
        read!("overview", it => it.overview("A", 10)),
        read!("holders", it => it.holders("A", None, 10)),
        read!("waiters", it => it.waiters("A", None, 10)),
        read!("fencing", it => it.fencing("A", throttle_core::FencingToken::MAX)),
        read!("reconfigure", it => async move {
            it.reconfigure(Settings::default(), &configure(&[("A", 1)])).await
        }),
    ]
}

/// D1: a listing, a refusal, anything that follows from a change.
#[tokio::test(start_paused = true)]
async fn no_answer_shows_a_change_before_it_is_durable() {
    let mut service = Service::start(&[("A", 1)]);
    let holder = service.hold("A").await;
    let handle = service.handle.clone();
    let unknown = PeerId::new(7).unwrap();
    for (name, mut read) in
        all_reads(&handle, unknown).into_iter().filter(|it| it.0 != "restore refused")
    {
        assert!(poll(&mut read).is_ready(), "{name}: everything is durable");
    }
    service.flush();
    let mut released = Box::pin(handle.release(holder, "A", None));
    assert!(poll(&mut released).is_pending());
    let mut reads = all_reads(&handle, unknown);
    for (name, read) in &mut reads {
        assert!(poll(read).is_pending(), "{name} does not wait for the release");
    }
    service.flush();
    assert_eq!(ready(&mut released), Ok(Release::Released));
    for (name, mut read) in reads {
        assert!(poll(&mut read).is_ready(), "{name} is answered when everything is durable");
    }
}

/// D1: whether the change gathers, is sealed, or is being written.
#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_a_batch_that_is_sealed_or_being_written() {
    let mut service = Service::start(&[("A", 3)]);
    let peer = service.join().await;
    let handle = service.handle.clone();
    let mut granted = Box::pin(handle.acquire(peer, "A", NOW));
    assert!(poll(&mut granted).is_pending());
    let batch = service.writer.take(&handle.service).expect("something gathered");
    let mut remainder = Box::pin(handle.remainder("A"));
    assert!(poll(&mut remainder).is_pending(), "it is in flight");
    let mut released = Box::pin(handle.release(peer, "A", None));
    assert!(poll(&mut released).is_pending());
    let mut later = Box::pin(handle.remainder("A"));
    assert!(poll(&mut later).is_pending());
    service.writer.finish(&handle.service, batch);
    assert!(ready(&mut granted).unwrap().is_granted());
    assert_eq!(ready(&mut remainder), Ok(2));
    assert!(poll(&mut released).is_pending(), "it gathered meanwhile");
    assert!(poll(&mut later).is_pending());
    service.flush();
    assert_eq!(ready(&mut later), Ok(3));
    assert!(poll(&mut released).is_ready());
}

/// D1: the outcome of a wait that another operation ends.
#[tokio::test(start_paused = true)]
async fn a_woken_waiter_is_answered_when_its_grant_is_durable() {
    let mut service = Service::start(&[("A", 1)]);
    let (holder, waiter) = (service.hold("A").await, service.join().await);
    let handle = service.handle.clone();
    let mut waiting = Box::pin(handle.acquire(waiter, "A", WAIT));
    assert!(poll(&mut waiting).is_pending());
    service.flush();
    assert!(poll(&mut waiting).is_pending());
    let mut removed = Box::pin(handle.remove_peer(holder, None));
    assert!(poll(&mut removed).is_pending());
    assert!(poll(&mut waiting).is_pending(), "the grant is not durable");
    service.flush();
    assert!(ready(&mut waiting).unwrap().is_granted());
    assert_eq!(ready(&mut removed), Ok(true));
    let held = service.store.contents().peers.remove(&waiter).unwrap().held;
    assert_eq!(held.len(), 1);
}

/// D1: the queueing of a request that waits need not be durable before the wait ends, but then.
#[tokio::test(start_paused = true)]
async fn a_wait_that_is_over_is_answered_when_the_place_in_the_queue_is_durable() {
    let mut service = Service::start(&[("A", 1)]);
    service.hold("A").await;
    let waiter = service.join().await;
    let handle = service.handle.clone();
    let request = LockRequest { block_for: Some(SECOND), ..NOW };
    let mut waiting = Box::pin(handle.acquire(waiter, "A", request));
    assert!(poll(&mut waiting).is_pending());
    tokio::time::sleep(2 * SECOND).await;
    assert!(poll(&mut waiting).is_pending(), "nothing was written since it was queued");
    service.flush();
    assert!(matches!(ready(&mut waiting), Ok(Admission::Queued { .. })));
}

/// D1: so does a drain answer.
#[tokio::test(start_paused = true)]
async fn a_drained_wait_is_answered_when_the_place_in_the_queue_is_durable() {
    let mut service = Service::start(&[("A", 1)]);
    service.hold("A").await;
    let waiter = service.join().await;
    let handle = service.handle.clone();
    let mut waiting = Box::pin(handle.acquire(waiter, "A", WAIT));
    assert!(poll(&mut waiting).is_pending());
    handle.drain();
    assert!(poll(&mut waiting).is_pending());
    service.flush();
    assert!(matches!(ready(&mut waiting), Ok(Admission::Queued { .. })));
}

/// D1: a heartbeat shows only its own peer.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_waits_only_for_changes_of_its_own_peer() {
    let mut service = Service::start(&[("A", 2)]);
    let (changed, other) = (service.hold("A").await, service.hold("A").await);
    let handle = service.handle.clone();
    let token = service.store.contents().peers[&other].held[0].token;
    let mut released = Box::pin(handle.release(changed, "A", None));
    assert!(poll(&mut released).is_pending());
    let beat = |peer, lease| {
        let handle = handle.clone();
        Box::pin(async move { handle.heartbeat(peer, lease).await })
    };
    assert_eq!(ready(&mut beat(other, LEASE)), Ok(()));
    assert!(matches!(ready(&mut Box::pin(handle.fencing("A", token))), Ok(Some(_))));
    let mut own = beat(changed, LEASE);
    assert!(poll(&mut own).is_pending(), "its peer has changed");
    let batch = service.writer.take(&handle.service).unwrap();
    assert!(poll(&mut beat(changed, LEASE)).is_pending(), "its change is being written");
    assert_eq!(ready(&mut beat(other, LEASE)), Ok(()));
    let mut longer = beat(other, 2 * LEASE);
    assert!(poll(&mut longer).is_pending(), "the length of the lease is a change");
    service.writer.finish(&handle.service, batch);
    assert_eq!(ready(&mut own), Ok(()));
    service.flush();
    assert_eq!(ready(&mut longer), Ok(()));
    assert_eq!(service.store.contents().peers[&other].expires_in, 2 * LEASE);
    service.store.take_images();
    let mut plain = beat(other, 2 * LEASE);
    assert_eq!(ready(&mut plain), Ok(()));
    service.flush();
    assert!(service.store.take_images().is_empty(), "a plain heartbeat writes nothing");
}

/// D3
#[tokio::test(start_paused = true)]
async fn changes_of_one_peer_coalesce_until_the_writer_has_time() {
    let mut service = Service::start(&[("A", 1)]);
    let peer = service.join().await;
    service.store.take_images();
    let handle = service.handle.clone();
    for _ in 0..100 {
        assert!(poll(&mut Box::pin(handle.acquire(peer, "A", NOW))).is_pending());
        assert!(poll(&mut Box::pin(handle.release(peer, "A", None))).is_pending());
    }
    service.flush();
    let images = service.store.take_images();
    assert_eq!((images.len(), service.store.largest_batch()), (1, 2), "a peer and a semaphore");
}

/// D3
#[tokio::test(start_paused = true)]
async fn a_batch_that_has_reached_its_limit_is_sealed() {
    let store = MemoryStore::new().with_max_batch(5);
    let mut service = Service::with(store, &[]);
    let handle = service.handle.clone();
    for _ in 0..10 {
        assert!(poll(&mut Box::pin(handle.new_peer(LEASE, Labels::default()))).is_pending());
    }
    service.flush();
    let peers: Vec<_> = service.store.take_images().iter().map(|it| it.peers.len()).collect();
    assert_eq!(peers, [4, 8, 10]);
}

/// The number of a refused request counts too, and that of a peer that never existed.
#[tokio::test(start_paused = true)]
async fn numbers_of_requests_are_durable_before_the_answer() {
    let mut service = Service::start(&[("A", 1)]);
    let (_, peer) = (service.hold("A").await, service.join().await);
    let handle = service.handle.clone();
    let number = |number| Some(Sequence::new(number).unwrap());
    let large = LockRequest { sequence: number(7), ..LockRequest::now(Count::new(2).unwrap()) };
    let mut refused = Box::pin(handle.acquire(peer, "A", large));
    assert!(poll(&mut refused).is_pending());
    let stranger = PeerId::new(99).unwrap();
    let mut unknown = Box::pin(handle.release(stranger, "A", number(3)));
    assert!(poll(&mut unknown).is_pending());
    service.flush();
    assert_eq!(ready(&mut refused).unwrap_err().code(), "never_acquirable");
    assert_eq!(ready(&mut unknown).unwrap_err().code(), "unknown_peer");
    let contents = service.store.contents();
    assert_eq!(contents.peers[&peer].sequence, number(7).unwrap());
    assert_eq!(contents.absent[&stranger].sequence, number(3).unwrap());
    service.store.take_images();
    let stale = LockRequest { sequence: number(6), ..NOW };
    let refused = ready(&mut Box::pin(handle.acquire(peer, "A", stale)));
    assert_eq!(refused.unwrap_err().code(), "stale_request");
    service.flush();
    assert!(service.store.take_images().is_empty(), "a stale request changes nothing");
}

/// While a store hangs, clients give up and repeat their requests.
#[tokio::test(start_paused = true)]
async fn what_is_held_back_and_sealed_while_a_store_hangs_is_bounded() {
    let store = MemoryStore::new().with_max_batch(4);
    let mut service = Service::with(store, &[("A", 1)]);
    let (holder, other) = (service.hold("A").await, service.join().await);
    let handle = service.handle.clone();
    assert!(poll(&mut Box::pin(handle.release(holder, "A", None))).is_pending());
    let batch = service.writer.take(&handle.service).expect("something gathered");
    for _ in 0..2_000 {
        for peer in [holder, other] {
            assert!(poll(&mut Box::pin(handle.acquire(peer, "A", NOW))).is_pending());
            assert!(poll(&mut Box::pin(handle.release(peer, "A", None))).is_pending());
        }
    }
    handle.service.with_state(|state, _, _| {
        let journal = state.journal.as_mut().unwrap();
        assert_eq!(journal.sealed.len(), MAX_SEALED);
        assert!(journal.gathering.held.answers.len() < 100, "nobody waits for them");
    });
    let mut last = Box::pin(handle.remainder("A"));
    assert!(poll(&mut last).is_pending());
    service.writer.finish(&handle.service, batch);
    service.flush();
    assert_eq!(ready(&mut last), Ok(1));
}

/// A store that hangs is reported, because nothing is answered meanwhile.
#[tokio::test(start_paused = true)]
async fn a_batch_that_takes_ten_seconds_is_reported_every_ten_seconds() {
    let service = Service::start(&[]);
    let handle = service.handle.clone();
    assert!(poll(&mut Box::pin(handle.new_peer(LEASE, Labels::default()))).is_pending());
    let _batch = service.writer.take(&handle.service).expect("something gathered");
    let mut reported = Vec::new();
    for seconds in 1..=25 {
        tokio::time::sleep(SECOND).await;
        let report = handle.service.with_state(|state, _, _| {
            let observed = state.lease_clock.observed();
            state.journal.as_mut()?.report_slow_batch(observed)
        });
        reported.extend(report.map(|lasts| (seconds, lasts)));
    }
    assert_eq!(reported, [(10, 10 * SECOND), (20, 20 * SECOND)]);
}

/// A handle that is dropped leaves nothing unwritten, although nobody waits for it.
#[tokio::test(start_paused = true)]
async fn what_gathered_is_written_when_the_last_handle_is_dropped() {
    let store = MemoryStore::new();
    let service = Service::with(store.clone(), &[("A", 1)]);
    let Service { handle, writer, .. } = service;
    assert!(poll(&mut Box::pin(handle.new_peer(LEASE, Labels::default()))).is_pending());
    drop(handle);
    writer.spawn().unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(store.contents().peers.len(), 1);
    assert!(!store.is_open());
}
