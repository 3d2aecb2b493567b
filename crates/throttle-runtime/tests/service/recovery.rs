//! Tests of recovery: a service continues with what another one has left in a store, or has saved.

use std::{sync::Arc, time::Duration};

use throttle_runtime::{
    AbsentRecord, Admission, Changes, Count, Error, FencingToken, Handle, HeldRecord, Labels,
    Level, LockRequest, Meta, PeerId, PeerRecord, PendingRecord, SemaphoreConfig, SemaphoreRecord,
    Sequence, Settings, Ticket, UnixTime,
};
use tokio::time::sleep;

use crate::{
    memory_store::{Contents, MemoryStore},
    support::{Journal, LEASE, configure, count, hold, is_pending, join, levels, settle, wait},
};

const SECOND: Duration = Duration::from_secs(1);
const NOW: LockRequest = LockRequest::now(Count::ONE);

fn start(store: &MemoryStore, semaphores: &[(&str, u64)]) -> Handle {
    let semaphores = configure(semaphores);
    let builder = Handle::builder(Settings::default(), &semaphores);
    builder.store(store.open()).start().unwrap()
}

/// Ends the service as SIGKILL does, as far as the store is concerned: it is copied as it is.
async fn crash(throttle: Handle, store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::of(store.contents());
    drop(throttle);
    settle().await;
    copy
}

/// What a store has of the semaphore `A` of one, without peers.
fn records() -> Contents {
    let token_floor = FencingToken::new(100).unwrap();
    let record = SemaphoreRecord {
        name: "A".into(),
        last_token: FencingToken::new(50).unwrap(),
        max: Count::ONE,
        level: Level(0),
    };
    Contents {
        meta: Some(Meta { id: 7, made_at: UnixTime(1_000), token_floor }),
        semaphores: [(Arc::from("A"), record)].into(),
        ..Contents::default()
    }
}

fn peer_record(id: u64) -> PeerRecord {
    PeerRecord {
        id: PeerId::new(id).unwrap(),
        expires_in: LEASE,
        labels: Labels::default(),
        sequence: Sequence::default(),
        held: Vec::new(),
        pending: None,
    }
}

fn held(semaphore: &str, token: u64) -> HeldRecord<Arc<str>, UnixTime> {
    let token = FencingToken::new(token).unwrap();
    HeldRecord { semaphore: semaphore.into(), count: Count::ONE, token, since: UnixTime(5_000) }
}

fn pending(semaphore: &str, ticket: u64) -> PendingRecord<Arc<str>, UnixTime> {
    let ticket = Ticket::new(ticket);
    PendingRecord { semaphore: semaphore.into(), count: Count::ONE, ticket, since: UnixTime(5_000) }
}

/// D2, D7
#[tokio::test(start_paused = true)]
async fn after_a_crash_holders_hold_and_waiters_wait_as_before() {
    let store = MemoryStore::new();
    let throttle = start(&store, &[("A", 1)]);
    assert_eq!(throttle.recovery(), None);
    assert!(throttle.is_durable());
    let holder = hold(&throttle, "A", 1).await;
    let held = throttle.peer(holder).await.unwrap().held;
    let mut waiters = Vec::new();
    for _ in 0..3 {
        let waiter = join(&throttle).await;
        assert!(is_pending(throttle.acquire(waiter, "A", NOW).await));
        waiters.push(waiter);
    }
    let store = crash(throttle, &store).await;

    let throttle = start(&store, &[("A", 1)]);
    let recovered = throttle.recovery().expect("there was a state");
    assert_eq!((recovered.peers, recovered.locks, recovered.waiters), (4, 1, 3));
    let token = throttle.peer(holder).await.unwrap().held[0].token;
    assert_eq!(token, held[0].token);
    assert!(matches!(throttle.fencing("A", token).await, Ok(Some(it)) if it.peer == holder));
    let newcomer = join(&throttle).await;
    assert!(is_pending(throttle.acquire(newcomer, "A", NOW).await), "it joins the end");
    let waiting = wait(&throttle, waiters[0], "A");
    settle().await;
    throttle.release(holder, "A", None).await.unwrap();
    let Admission::Granted { token: next, .. } = waiting.await.unwrap().unwrap() else {
        panic!("it was the first in the queue")
    };
    assert!(next > token, "tokens go on");
    let queue = throttle.waiters("A", None, 10).await.unwrap().entries;
    let queue: Vec<_> = queue.into_iter().map(|waiter| waiter.peer).collect();
    assert_eq!(queue, [waiters[1], waiters[2], newcomer]);
}

/// D6
#[tokio::test(start_paused = true)]
async fn every_peer_has_its_full_lease_after_a_recovery() {
    let store = MemoryStore::new();
    let throttle = start(&store, &[("A", 1)]);
    let holder = hold(&throttle, "A", 1).await;
    for _ in 0..59 {
        sleep(SECOND).await;
        assert_eq!(throttle.is_acquired(holder).await, Ok(true));
    }
    let store = crash(throttle, &store).await;
    sleep(10 * LEASE).await;
    let throttle = start(&store, &[("A", 1)]);
    assert_eq!(throttle.peer(holder).await.unwrap().time_left, LEASE);
    sleep(LEASE - SECOND).await;
    assert_eq!(throttle.is_acquired(holder).await, Ok(true));
    sleep(2 * SECOND).await;
    assert_eq!(throttle.is_acquired(holder).await.unwrap_err().code(), "unknown_peer");
    settle().await;
    assert_eq!(store.contents().peers.len(), 0, "the end of the lease is durable, too");
}

/// Numbers of requests survive, of living peers and of those that are gone.
#[tokio::test(start_paused = true)]
async fn stale_requests_are_refused_after_a_recovery() {
    let store = MemoryStore::new();
    let throttle = start(&store, &[("A", 1)]);
    let (living, gone) = (join(&throttle).await, join(&throttle).await);
    let number = |number| Some(Sequence::new(number).unwrap());
    let request = LockRequest { sequence: number(5), ..NOW };
    throttle.acquire(living, "A", request).await.unwrap();
    throttle.remove_peer(gone, number(8)).await.unwrap();
    let store = crash(throttle, &store).await;
    let throttle = start(&store, &[("A", 1)]);
    let late = throttle.release(living, "A", number(4)).await;
    assert_eq!(late.unwrap_err().code(), "stale_request");
    let late = throttle.release(gone, "A", number(7)).await;
    assert_eq!(late.unwrap_err().code(), "stale_request");
}

/// D9
#[tokio::test(start_paused = true)]
async fn a_semaphore_that_is_gone_from_the_configuration_is_retired_if_it_is_held() {
    let store = MemoryStore::new();
    let throttle = start(&store, &[("A", 1), ("B", 1)]);
    let (holder, waiter) = (hold(&throttle, "A", 1).await, join(&throttle).await);
    throttle.acquire(waiter, "A", NOW).await.unwrap();
    let store = crash(throttle, &store).await;

    let journal = Journal::default();
    let entries = Arc::clone(&journal.0);
    let semaphores = configure(&[("C", 1)]);
    let builder = Handle::builder(Settings::default(), &semaphores).observer(Box::new(journal));
    let throttle = builder.store(store.open()).start().unwrap();
    let recovered = throttle.recovery().unwrap();
    assert_eq!((&*recovered.retired, recovered.waiters), (&["A".to_owned()][..], 1));
    assert!(throttle.semaphore("A").await.unwrap().retired);
    assert_eq!(throttle.semaphore("B").await.unwrap_err().code(), "unknown_semaphore");
    assert_eq!(throttle.is_acquired(waiter).await, Ok(true), "it waits for nothing any more");
    assert_eq!(throttle.acquire(waiter, "A", NOW).await.unwrap_err().code(), "unknown_semaphore");
    let names = |store: &MemoryStore| store.contents().semaphores.into_keys().collect::<Vec<_>>();
    assert_eq!(names(&store), [Arc::from("A"), Arc::from("C")], "that is durable already");
    let floor = store.contents().meta.unwrap().token_floor;
    throttle.release(holder, "A", None).await.unwrap();
    assert_eq!(names(&store), [Arc::from("C")]);
    assert!(store.contents().meta.unwrap().token_floor > floor, "A may come back");
    assert_eq!(entries.lock().unwrap().last().unwrap(), "0 removed");
}

/// D9
#[tokio::test(start_paused = true)]
async fn changed_maximums_and_levels_are_those_of_the_configuration() {
    let store = MemoryStore::new();
    let throttle = start(&store, &[("A", 3), ("B", 1)]);
    let holder = hold(&throttle, "A", 3).await;
    let store = crash(throttle, &store).await;
    let semaphores = [("A", 1, 7), ("B", 5, 7)].map(|(name, max, level)| {
        (name.to_owned(), SemaphoreConfig { max: count(max), level: Level(level) })
    });
    let semaphores = semaphores.into();
    let builder = Handle::builder(Settings::default(), &semaphores);
    let throttle = builder.store(store.open()).start().unwrap();
    assert_eq!(throttle.remainder("A").await, Ok(-2));
    let a = throttle.semaphore("A").await.unwrap();
    assert_eq!((a.level, a.next_level), (Level(0), Some(Level(7))), "it is in use");
    let b = throttle.semaphore("B").await.unwrap();
    assert_eq!((b.level, b.next_level, b.max), (Level(7), None, count(5)));
    let stored = store.contents().semaphores;
    assert_eq!((stored["A"].max, stored["A"].level), (Count::ONE, Level(0)));
    assert_eq!((stored["B"].max, stored["B"].level), (count(5), Level(7)));
    throttle.release(holder, "A", None).await.unwrap();
    assert_eq!(store.contents().semaphores["A"].level, Level(7));
}

/// D7, S10: a semaphore that was removed and comes back, without help of the wall clock.
#[tokio::test(start_paused = true)]
async fn tokens_of_a_semaphore_that_comes_back_are_greater_than_those_it_had() {
    let store = MemoryStore::of(records());
    let token = async |throttle: &Handle| {
        let peer = join(throttle).await;
        let Admission::Granted { token, .. } = throttle.acquire(peer, "A", NOW).await.unwrap()
        else {
            panic!("it is free")
        };
        throttle.remove_peer(peer, None).await.unwrap();
        token.get()
    };
    let throttle = start(&store, &[("A", 1)]);
    assert_eq!(token(&throttle).await, 51);
    let store = crash(throttle, &store).await;
    let throttle = start(&store, &[("A", 1)]);
    for expected in 52..=110 {
        assert_eq!(token(&throttle).await, expected);
    }
    let changes = throttle.reconfigure(Settings::default(), &configure(&[])).await.unwrap();
    assert_eq!(changes, Changes { removed: vec!["A".to_owned()], ..Changes::default() });
    let store = crash(throttle, &store).await;
    let throttle = start(&store, &[("A", 1)]);
    assert_eq!(token(&throttle).await, 111);
}

/// A crash during the first start leaves nothing that a later one refuses.
#[tokio::test(start_paused = true)]
async fn a_new_store_has_its_meta_record_from_the_first_batch_on() {
    let store = MemoryStore::new().with_max_batch(2);
    let semaphores = [("A", 1), ("B", 1), ("C", 1), ("D", 1)];
    start(&store, &semaphores);
    let images = store.take_images();
    assert_eq!(images.len(), 3);
    for image in images {
        let throttle = start(&MemoryStore::of(image), &semaphores);
        assert_eq!(throttle.semaphores().await.unwrap().len(), 4);
    }
}

/// D10
#[tokio::test(start_paused = true)]
async fn a_service_remembers_for_as_long_as_its_store_exists() {
    let store = MemoryStore::of(records());
    let throttle = start(&store, &[("A", 1)]);
    let years = throttle.remembers_for().as_secs() / (365 * 24 * 60 * 60);
    assert!(years > 50, "the store was made a second after 1970, which is {years} years ago");
    assert_eq!(throttle.uptime(), Duration::ZERO);
    assert_eq!(throttle.recovery().unwrap().made_at, UnixTime(1_000));
    sleep(SECOND).await;
    assert_eq!(throttle.uptime(), SECOND);
    let fresh = start(&MemoryStore::new(), &[("A", 1)]);
    sleep(SECOND).await;
    assert_eq!(fresh.remembers_for(), SECOND);
}

/// Ages go on, by the wall clock.
#[tokio::test(start_paused = true)]
async fn a_recovered_lock_shows_since_when_it_is_held() {
    let mut contents = records();
    let mut peer = peer_record(7);
    peer.held.push(held("A", 50));
    contents.peers.insert(peer.id, peer.clone());
    let store = MemoryStore::of(contents);
    let throttle = start(&store, &[("A", 1)]);
    let lock = throttle.peer(peer.id).await.unwrap().held.remove(0);
    assert!(lock.held_for > Duration::from_secs(50 * 365 * 24 * 60 * 60), "{:?}", lock.held_for);
    throttle.heartbeat(peer.id, 2 * LEASE).await.unwrap();
    let stored = store.contents().peers.remove(&peer.id).unwrap();
    assert_eq!(stored, PeerRecord { expires_in: 2 * LEASE, ..peer }, "it is stored as it was");
}

/// A number that is too old to be remembered is removed from the store, and so is one that grows old.
#[tokio::test(start_paused = true)]
async fn numbers_of_absent_peers_are_forgotten_in_the_store_too() {
    let mut contents = records();
    let peer = PeerId::new(7).unwrap();
    let sequence = Sequence::new(3).unwrap();
    contents.absent.insert(peer, AbsentRecord { peer, sequence, since: UnixTime(5_000) });
    let store = MemoryStore::of(contents);
    let throttle = start(&store, &[("A", 1)]);
    let late = join(&throttle).await;
    throttle.remove_peer(late, Some(sequence)).await.unwrap();
    settle().await;
    assert_eq!(store.contents().absent.into_keys().collect::<Vec<_>>(), [late]);
    sleep(601 * SECOND).await;
    settle().await;
    assert!(store.contents().absent.is_empty());
}

/// D5: nothing is dropped silently.
#[tokio::test(start_paused = true)]
async fn damaged_records_are_refused_with_a_message_that_names_them() {
    let refused = |change: fn(&mut Contents)| {
        let mut contents = records();
        let mut peer = peer_record(7);
        peer.held.push(held("A", 50));
        contents.peers.insert(peer.id, peer);
        change(&mut contents);
        let store = MemoryStore::of(contents);
        let semaphores = configure(&[("A", 1), ("B", 1)]);
        let builder = Handle::builder(Settings::default(), &semaphores);
        builder.store(store.open()).start().unwrap_err().to_string()
    };
    let message = refused(|it| {
        it.peers.values_mut().for_each(|peer| peer.pending = Some(pending("A", 1)));
    });
    let expected = r#"the records are damaged: peer 7 waits for semaphore "A", which it holds"#;
    assert_eq!(message, expected);
    let message = refused(|it| {
        it.peers.values_mut().for_each(|peer| peer.pending = Some(pending("B", 1)));
    });
    let expected = r#"the records are damaged: peer 7 has a lock of the unknown semaphore "B""#;
    assert_eq!(message, expected, "a semaphore without a record");
    let message = refused(|it| it.meta.as_mut().unwrap().token_floor = FencingToken::MAX);
    assert!(message.starts_with("the records are damaged: the token above which"), "{message}");
    let message = refused(|it| it.meta = None);
    assert_eq!(message, "the records are damaged: there are records, but no meta record");
}

/// A state file: saved at the end, recovered once.
#[tokio::test(start_paused = true)]
async fn a_saved_state_is_recovered_without_a_store() {
    let semaphores = configure(&[("A", 1)]);
    let throttle = Handle::start(Settings::default(), &semaphores);
    let (holder, waiter) = (hold(&throttle, "A", 1).await, join(&throttle).await);
    let waiting = wait(&throttle, waiter, "A");
    settle().await;
    sleep(SECOND).await;
    throttle.drain();
    assert!(is_pending(waiting.await.unwrap()));
    let file = MemoryStore::new().with_max_batch(2);
    let saved = throttle.save(&mut *file.open()).unwrap();
    assert_eq!((saved.peers, saved.locks, saved.waiters), (2, 1, 1));
    assert_eq!(throttle.heartbeat(holder, LEASE).await, Err(Error::StoreFailed), "it has ended");
    sleep(10 * LEASE).await;
    assert_eq!(throttle.failure(), None);

    let builder = Handle::builder(Settings::default(), &semaphores);
    let next = builder.recover_from(file.open()).start().unwrap();
    assert!(!next.is_durable() && !file.is_open());
    assert_eq!(next.recovery().unwrap().peers, 2);
    assert!(next.remembers_for() >= next.uptime());
    assert_eq!(next.peer(holder).await.unwrap().held.len(), 1);
    assert!(is_pending(next.acquire(waiter, "A", NOW).await));
    next.release(holder, "A", None).await.unwrap();
    assert_eq!(next.is_acquired(waiter).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn a_saved_state_is_moved_into_a_new_store_but_never_into_one_that_has_a_state() {
    let throttle = Handle::start(Settings::default(), &levels(&[("A", 3)]));
    let holder = hold(&throttle, "A", 1).await;
    let file = MemoryStore::new();
    throttle.save(&mut *file.open()).unwrap();
    let store = MemoryStore::new().with_max_batch(2);
    let semaphores = levels(&[("A", 3)]);
    let start = || {
        let builder = Handle::builder(Settings::default(), &semaphores);
        builder.recover_from(file.open()).store(store.open()).start()
    };
    let moved = start().unwrap();
    assert_eq!(store.contents().peers, file.contents().peers);
    assert_eq!(store.contents().semaphores, file.contents().semaphores);
    let images = store.take_images();
    assert!(images.len() > 1 && images[..images.len() - 1].iter().all(|it| it.meta.is_none()));
    moved.close().await.unwrap();
    let refused = start().unwrap_err().to_string();
    assert!(refused.contains("the store has a state already"), "{refused}");
    assert!(store.contents().peers.contains_key(&holder));
}

/// A crash in between must leave a store that is not complete.
#[tokio::test(start_paused = true)]
async fn the_meta_record_of_a_moved_state_comes_last_even_if_a_semaphore_is_not_wanted_any_more() {
    let throttle = Handle::start(Settings::default(), &levels(&[("A", 3), ("B", 3)]));
    hold(&throttle, "A", 1).await;
    let file = MemoryStore::new();
    throttle.save(&mut *file.open()).unwrap();
    let mut contents = file.contents();
    let greatest = FencingToken::new(1 << 52).unwrap();
    contents.semaphores.get_mut("B").unwrap().last_token = greatest;
    let (file, store) = (MemoryStore::of(contents), MemoryStore::new().with_max_batch(2));
    let semaphores = levels(&[("A", 3)]);
    let builder = Handle::builder(Settings::default(), &semaphores);
    builder.recover_from(file.open()).store(store.open()).start().unwrap();
    let images = store.take_images();
    assert!(images.len() > 1 && images[..images.len() - 1].iter().all(|it| it.meta.is_none()));
    assert_eq!(store.contents().meta.unwrap().token_floor, greatest);
}
