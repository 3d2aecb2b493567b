//! D2 and D3 over random operations: what the store has is at any moment what the state machine had after some
//! operation, no earlier than the last one that was answered.

use std::{cell::RefCell, collections::BTreeMap, pin::Pin, time::Duration};

use arbtest::arbitrary::{Result, Unstructured};
use throttle_core::{Count, Sequence};
use tokio::{runtime::Builder, time::sleep};

use super::{memory_store::Contents, *};
use crate::{
    error::Error,
    handle::Restoration,
    journal::{Converter, semaphore_record},
    state::State,
};

/// How often something was seen that the tests are about.
#[derive(Debug, Default)]
struct Coverage {
    writes: u32,
    coalesced: u32,
    parts: u32,
    /// Batches after which more is held.
    grants: u32,
    /// Batches after which somebody waits.
    waiters: u32,
}

/// D2, D3. A batch takes 1,000 records, so it is never written in parts.
#[test]
fn what_is_durable_is_the_state_after_an_operation_that_is_not_before_any_answered_one() {
    let seen = lives(1_000, false);
    assert!(seen.writes > 100 && seen.coalesced > 100, "{seen:?}");
    assert!(seen.grants > 50 && seen.waiters > 50, "{seen:?}");
}

/// D3. A batch takes three records, so that many operations are written in parts.
#[test]
fn between_the_parts_of_a_large_batch_nothing_is_held_twice_and_nothing_answered_is_lost() {
    let seen = lives(3, true);
    assert!(seen.parts > 20 && seen.grants > 50 && seen.waiters > 50, "{seen:?}");
}

fn lives(max_batch: usize, exact: bool) -> Coverage {
    let seen = RefCell::new(Coverage::default());
    for seed in 1..=8_u64 {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> u32::BITS;
        arbtest::arbtest(|u| {
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
            let mut seen = seen.borrow_mut();
            let life = life(u, max_batch, exact, &mut seen);
            runtime.expect("a runtime starts").block_on(life)
        })
        .seed(random << u32::BITS | 2_048)
        .run();
    }
    seen.into_inner()
}

type Request = (usize, Pin<Box<dyn Future<Output = std::result::Result<(), Error>>>>);

/// A service under random operations, and its states after each of them.
struct Life {
    service: Service,
    /// Whether no maximum is exceeded, because there are no restores, and no maximum is lowered.
    exact: bool,
    states: Vec<Contents>,
    /// The index in `states` of what the store has.
    durable: usize,
    /// The number of the latest operation that was answered, which is an index in `states` too.
    answered: usize,
    requests: Vec<Request>,
    peers: Vec<PeerId>,
    semaphores: BTreeMap<&'static str, (u64, i32)>,
}

async fn life(
    u: &mut Unstructured<'_>,
    max_batch: usize,
    exact: bool,
    seen: &mut Coverage,
) -> Result<()> {
    let store = MemoryStore::new().with_max_batch(max_batch);
    let service = Service::with(store, &[("A", 6), ("B", 1)]);
    let semaphores = BTreeMap::from([("A", (6, 0)), ("B", (1, 0))]);
    let first = service.store.contents();
    let peers = (1..=2).filter_map(PeerId::new).collect();
    let mut life = Life {
        service,
        exact,
        states: vec![first],
        durable: 0,
        answered: 0,
        requests: Vec::new(),
        peers,
        semaphores,
    };
    while !u.is_empty() {
        life.act(u).await?;
        life.answer_requests();
        if u.ratio(1, 4)? {
            life.write(seen);
            life.answer_requests();
        }
    }
    life.flush(seen);
    life.recover();
    Ok(())
}

impl Life {
    /// Notes the state after an operation.
    fn note(&mut self) {
        let state = contents(&self.service.handle, self.states[0].meta);
        self.states.push(state);
    }

    /// An operation that is answered later.
    fn request(&mut self, request: impl Future<Output = std::result::Result<(), Error>> + 'static) {
        let mut request: Pin<Box<dyn Future<Output = _>>> = Box::pin(request);
        let answer = poll(&mut request);
        self.note();
        match answer {
            Poll::Ready(_) => self.answered(self.states.len() - 1),
            Poll::Pending => self.requests.push((self.states.len() - 1, request)),
        }
    }

    /// Notes that an operation was answered, so what it changed is durable.
    fn answered(&mut self, operation: usize) {
        let after = &self.states[operation];
        let is_durable = operation <= self.durable || *after == self.states[self.durable];
        assert!(is_durable || *after == self.states[operation - 1], "it was answered too early");
        if operation <= self.durable {
            self.answered = self.answered.max(operation);
        }
    }

    /// Polls all requests; those that are answered are removed.
    fn answer_requests(&mut self) {
        for (operation, mut request) in std::mem::take(&mut self.requests) {
            let answer = poll(&mut request);
            let before = self.states.len();
            self.note();
            if self.states[before] == self.states[before - 1] {
                self.states.pop();
            }
            match answer {
                Poll::Ready(_) => self.answered(operation),
                Poll::Pending => self.requests.push((operation, request)),
            }
        }
    }

    /// A step of the writer. Returns whether there was something to write.
    fn write(&mut self, seen: &mut Coverage) -> bool {
        let before = self.states[self.durable].clone();
        let step = self.service.writer.step(&self.service.handle.service);
        let mut images = self.service.store.take_images();
        let Some(after) = images.pop() else {
            assert!(matches!(step, Step::Idle), "{step:?}");
            return false;
        };
        assert!(matches!(step, Step::Wrote), "{step:?}");
        let matching = (self.durable..self.states.len()).find(|&it| self.states[it] == after);
        let durable = matching.unwrap_or_else(|| panic!("no operation led to {after:#?}"));
        assert!(durable >= self.answered, "what was answered is lost");
        seen.writes += 1;
        seen.coalesced += u32::from(durable > self.durable + 1);
        seen.parts += u32::try_from(images.len()).unwrap();
        for image in images {
            self.check_part(&image, &before, &after);
        }
        let locks =
            |state: &Contents| state.peers.values().map(|peer| peer.held.len()).sum::<usize>();
        seen.grants += u32::from(locks(&after) > locks(&before));
        seen.waiters += u32::from(after.peers.values().any(|peer| peer.pending.is_some()));
        self.durable = durable;
        true
    }

    /// What a crash leaves between two parts of a batch.
    fn check_part(&self, image: &Contents, before: &Contents, after: &Contents) {
        for (peer, record) in &image.peers {
            let one_of_both = [before.peers.get(peer), after.peers.get(peer)];
            assert!(
                one_of_both.contains(&Some(record)),
                "{peer} is neither as before nor as after"
            );
        }
        for peer in before.peers.keys().filter(|peer| after.peers.contains_key(peer)) {
            assert!(image.peers.contains_key(peer), "{peer} is lost");
        }
        if self.exact {
            for (name, record) in &image.semaphores {
                assert!(image.held(name) <= record.max.get(), "{name} is held twice: {image:#?}");
            }
        }
        let tokens = |name| image.semaphores.get(name).map(|record| record.last_token);
        for lock in image.peers.values().flat_map(|peer| &peer.held) {
            assert!(Some(lock.token) <= tokens(&lock.semaphore), "{} is not recorded", lock.token);
        }
        let _ = recovered(image, &self.semaphores);
    }

    fn flush(&mut self, seen: &mut Coverage) {
        while self.write(seen) {}
        assert_eq!(
            self.service.store.contents(),
            *self.states.last().expect("there is a first one")
        );
    }

    /// Recovers what the store has, and saves it.
    fn recover(self) {
        let before = self.service.store.contents();
        // A recovered waiter is not parked, so it may be granted what was free.
        if self.has_parked_waiters() {
            return;
        }
        let mut after = recovered(&before, &self.semaphores);
        after.flush();
        let after_recovery = after.store.contents();
        assert_eq!(after_recovery.peers, before.peers);
        assert_eq!(after_recovery.absent, before.absent);
        let file = MemoryStore::new();
        let saved = after.handle.save(&mut *file.open()).expect("it succeeds");
        let copy = file.contents();
        assert_eq!(saved.peers, before.peers.len() as u64);
        assert_eq!((&copy.peers, &copy.absent), (&before.peers, &before.absent));
        assert_eq!(copy.semaphores, after_recovery.semaphores);
    }

    fn has_parked_waiters(&self) -> bool {
        let state = self.service.handle.service.lock().expect("no operation panicked");
        let mut ids = state.names.entries().iter().map(|entry| entry.id);
        ids.any(|id| {
            let waiters = state.throttle.waiters(id, None);
            waiters.is_ok_and(|mut waiters| waiters.any(|waiter| waiter.parked))
        })
    }

    async fn act(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let handle = self.service.handle.clone();
        let peer = *u.choose(&self.peers)?;
        let semaphore = *u.choose(&["A", "A", "B"])?;
        let sequence = if u.ratio(1, 3)? { Sequence::new(u.int_in_range(1..=9)?) } else { None };
        let lease = Duration::from_secs(u.int_in_range(2..=5)?);
        match u.int_in_range(0..=15)? {
            0 | 1 => self.new_peer(lease),
            2..=6 => {
                let largest = if semaphore == "A" { 6 } else { 1 };
                let count = u.int_in_range(1..=largest)?.min(u.int_in_range(1..=largest)?);
                let count = Count::new(count).expect("it is positive");
                let block_for = u.ratio(1, 2)?.then(|| Duration::from_millis(700));
                let expires_in = u.ratio(1, 4)?.then_some(lease);
                let request = LockRequest { count, expires_in, block_for, sequence };
                self.request(
                    async move { handle.acquire(peer, semaphore, request).await.map(drop) },
                );
            }
            7 | 8 => {
                self.request(
                    async move { handle.release(peer, semaphore, sequence).await.map(drop) },
                );
            }
            9 => self.request(async move { handle.remove_peer(peer, sequence).await.map(drop) }),
            10 => self.request(async move { handle.heartbeat(peer, lease).await }),
            11 if !self.requests.is_empty() => {
                let index = u.choose_index(self.requests.len())?;
                drop(self.requests.remove(index));
                self.note();
            }
            12 if !self.exact => {
                let locks = BTreeMap::from([(semaphore.to_owned(), Count::ONE)]);
                let labels = Labels::from_iter([("host".to_owned(), "x".to_owned())]);
                let restoration = Restoration { peer, expires_in: lease, locks, labels, sequence };
                self.request(async move { handle.restore(restoration).await });
            }
            13 if !self.exact => self.reconfigure(u)?,
            14 => self.request(async move { handle.peer(peer).await.map(drop) }),
            _ => {
                sleep(Duration::from_millis(u.int_in_range(0..=999)?)).await;
                self.request(async move { handle.peer_count().await.map(drop) });
            }
        }
        Ok(())
    }

    fn new_peer(&mut self, lease: Duration) {
        let before: Vec<_> = self.states.last().expect("a state").peers.keys().copied().collect();
        let handle = self.service.handle.clone();
        self.request(async move { handle.new_peer(lease, Labels::default()).await.map(drop) });
        let after = self.states.last().expect("a state").peers.keys();
        self.peers.extend(after.filter(|peer| !before.contains(peer)));
    }

    fn reconfigure(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.semaphores.clear();
        for name in ["A", "B", "C"] {
            if u.ratio(2, 3)? {
                let wanted = (u.int_in_range(1..=7)?, u.int_in_range(0..=1)?);
                self.semaphores.insert(name, wanted);
            }
        }
        let wanted = configured(&self.semaphores);
        let handle = self.service.handle.clone();
        // Those that are due are removed before, so that only one critical section changes anything.
        let clone = handle.clone();
        self.request(async move { clone.peer_count().await.map(drop) });
        let future =
            async move { handle.reconfigure(Settings::default(), &wanted).await.map(drop) };
        self.request(future);
        // It looks at the state first, and waits until what it saw is durable.
        self.service.flush();
        let images = self.service.store.take_images();
        assert!(images.iter().all(|image| self.states.contains(image)));
        let last = self.service.store.contents();
        let find = |states: &[Contents]| states.iter().rposition(|state| *state == last);
        self.durable = find(&self.states).expect("an operation led to it");
        self.answer_requests();
        Ok(())
    }
}

fn configured(semaphores: &BTreeMap<&str, (u64, i32)>) -> BTreeMap<String, SemaphoreConfig> {
    let semaphores = semaphores.iter().map(|(&name, &(max, level))| {
        let max = Count::new(max).expect("it is positive");
        (name.to_owned(), SemaphoreConfig { max, level: Level(level) })
    });
    semaphores.collect()
}

/// A service that continues with this five minutes later. The state machine checks all of its invariants.
fn recovered(contents: &Contents, semaphores: &BTreeMap<&str, (u64, i32)>) -> Service {
    let store = MemoryStore::of(contents.clone());
    let service = Service::with_config(store, configured(semaphores), FIVE_MINUTES);
    service.handle.service.with_state(|state, _, _| state.throttle.validate());
    service
}

/// What a store should have now.
fn contents(handle: &Handle, meta: Option<crate::store::Meta>) -> Contents {
    let state = handle.service.lock().expect("no operation panicked");
    let State { throttle, names, lease_clock, .. } = &*state;
    let converter = Converter {
        names: names.clone(),
        calendar: handle.service.memory.calendar,
        stalled: lease_clock.discounted(),
    };
    let records =
        throttle.records(None).map(|(_, record)| (record.id, converter.peer_record(record)));
    let absent = throttle.absent_peers().filter(|&(peer, ..)| !throttle.has_peer(peer));
    let absent = absent
        .map(|(peer, sequence, since)| (peer, converter.absent_record(peer, sequence, since)));
    let ids = names.entries().iter().map(|entry| entry.id);
    let semaphores = ids.filter_map(|id| semaphore_record(throttle, names, id));
    let meta = meta.map(|meta| crate::store::Meta { token_floor: throttle.token_floor(), ..meta });
    Contents {
        meta,
        semaphores: semaphores.map(|record| (record.name.clone(), record)).collect(),
        peers: records.collect(),
        absent: absent.collect(),
    }
}

/// Longer than a life, and shorter than numbers of absent peers are kept.
const FIVE_MINUTES: Duration = Duration::from_secs(300);
