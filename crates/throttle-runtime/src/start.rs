//! The start of a service: with nothing, or with the state of an earlier one.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::{FencingToken, Settings, Throttle, Time};

use crate::{
    builder::Builder,
    clock::{Calendar, Clock, START_AFTER_RECOVERY, WallClock},
    entropy::Entropy,
    handle::Handle,
    journal::{Journal, writer::Writer},
    names::{Entry, Names, SemaphoreConfig},
    recovery::{self, Loaded, Memory, Recovered},
    service::Service,
    state::State,
    store::{Meta, SemaphoreRecord, Store, StoreError},
    timer,
    world::World,
};

impl Handle {
    pub(crate) fn start_in(world: World, builder: Builder<'_>) -> Result<Self, StoreError> {
        let (handle, writer) = Self::prepare(world, builder)?;
        if let Some(writer) = writer {
            writer.spawn()?;
        }
        let service = &handle.service;
        tokio::spawn(timer::run(Arc::downgrade(service), Arc::clone(&service.rearm)));
        Ok(handle)
    }

    /// A service whose timer is not running yet, nor is the writer of its store. Everything that it begins with is
    /// durable.
    pub(crate) fn prepare(
        world: World,
        builder: Builder<'_>,
    ) -> Result<(Self, Option<Writer>), StoreError> {
        let World { mut entropy, wall_clock } = world;
        let Builder { settings, semaphores, observer, grace_period, recover_from, mut store } =
            builder;
        let recovers = store.is_some() || recover_from.is_some();
        let start = if recovers { START_AFTER_RECOVERY } else { Time::ZERO };
        let calendar = Calendar::new(start, wall_clock.unix_time());
        let empty = Empty { settings, seed: entropy.seed(), reports: store.is_some() };
        let origin = Origin::find(&mut store, recover_from, |source| {
            recovery::load(source, semaphores, empty.throttle(), (start, calendar), grace_period)
        })?;

        let mut meta = origin.meta(wall_clock, &mut entropy);
        let is_in_store = matches!(origin, Origin::Store(_));
        let is_copied = matches!(origin, Origin::Source(_));
        let loaded = origin.loaded();
        let mut first = First::new(loaded, || empty.throttle());
        first.configure(semaphores, start, meta.token_floor);
        if !is_in_store {
            // A semaphore that was not wanted any more may have raised it.
            meta.token_floor = first.throttle.token_floor();
        }
        let age_at_start = calendar.age(meta.made_at);
        let grace_left = grace_period.saturating_sub(age_at_start);
        if !grace_left.is_zero() {
            first.throttle.suspend_grants(start);
        }

        let First { throttle, entries, recorded, mut recovered } = first;
        let names = Arc::new(Names::new(entries.into_values().collect()));
        let mut state = State::new(start, throttle, names, observer, entropy);
        state.grace_until = (!grace_left.is_zero()).then(|| start + grace_left);
        state.announce_semaphores();
        let max_batch = store.as_ref().map(|store| store.max_batch());
        state.journal = max_batch.map(|max| Box::new(Journal::new(max, meta, calendar)));
        match is_in_store {
            true => state.touch_changed_semaphores(&recorded),
            false => state.touch_everything(!is_copied),
        }
        if let Some(recovered) = &mut recovered {
            recovered.retired = state.retired_semaphores();
            recovered.deferred = state.deferred_semaphores();
        }
        let memory =
            Memory { recovered, age_at_start, meta, calendar, is_durable: store.is_some() };
        let service = Arc::new(Service::new(Clock::start_at(start), memory, state));
        // Collects the events of the recovery.
        service.with_state(|_, _, _| {});
        let mut writer = store.map(|store| Writer::new(store, &service));
        if let Some(writer) = &mut writer {
            writer.write_all(&service)?;
            if is_copied {
                // It comes last, so that a state that was copied only in part is never taken for the whole.
                service.with_state(|state, _, _| state.journal.as_mut().map(|it| it.touch_meta()));
                writer.write_all(&service)?;
            }
        }
        Ok((Self { service }, writer))
    }
}

/// How to make a state machine without semaphores and peers.
struct Empty {
    settings: Settings,
    seed: u64,
    /// Whether it reports which absent peers it forgets.
    reports: bool,
}

impl Empty {
    fn throttle(&self) -> Throttle {
        let mut throttle = Throttle::new(self.settings).with_hash_seed(self.seed);
        throttle.report_forgotten(self.reports);
        throttle
    }
}

/// Where the state comes from with which a service begins.
enum Origin {
    /// The store, in which everything is already.
    Store(Loaded),
    /// Another source.
    Source(Loaded),
    Nowhere,
}

impl Origin {
    fn find(
        store: &mut Option<Box<dyn Store>>,
        source: Option<Box<dyn Store>>,
        load: impl Fn(&mut dyn Store) -> Result<Option<Loaded>, StoreError>,
    ) -> Result<Self, StoreError> {
        let in_store = match store {
            Some(store) => load(&mut **store)?,
            None => None,
        };
        match (in_store, source) {
            (Some(loaded), None) => Ok(Self::Store(loaded)),
            (Some(_), Some(_)) => Err(StoreError::new(
                "the store has a state already, so that of another source cannot be recovered: decide \
                which of the two is the newer one, and move the other out of the way",
            )),
            (None, Some(mut source)) => Ok(load(&mut *source)?.map_or(Self::Nowhere, Self::Source)),
            (None, None) => Ok(Self::Nowhere),
        }
    }

    /// The meta record of the service. Only a store that has a state needs no help of the wall clock.
    fn meta(&self, wall_clock: WallClock, entropy: &mut Entropy) -> Meta {
        let id = entropy.store_id();
        // It is lower if the wall clock is decades ahead.
        let throttle = Throttle::new(Settings::default());
        let fresh = || throttle.with_token_floor(wall_clock.token_floor()).token_floor();
        match self {
            Self::Store(loaded) => loaded.meta,
            Self::Source(Loaded { meta, .. }) => {
                Meta { id, token_floor: meta.token_floor.max(fresh()), ..*meta }
            }
            Self::Nowhere => Meta { id, made_at: wall_clock.unix_time(), token_floor: fresh() },
        }
    }

    fn loaded(self) -> Option<Loaded> {
        match self {
            Self::Store(loaded) | Self::Source(loaded) => Some(loaded),
            Self::Nowhere => None,
        }
    }
}

/// What a service begins with.
struct First {
    throttle: Throttle,
    entries: BTreeMap<Arc<str>, Entry>,
    /// The semaphores as they were recorded.
    recorded: BTreeMap<Arc<str>, SemaphoreRecord>,
    recovered: Option<Recovered>,
}

impl First {
    fn new(loaded: Option<Loaded>, empty: impl FnOnce() -> Throttle) -> Self {
        match loaded {
            Some(Loaded { throttle, entries, recorded, recovered, .. }) => {
                Self { throttle, entries, recorded, recovered: Some(recovered) }
            }
            None => Self {
                throttle: empty(),
                entries: BTreeMap::new(),
                recorded: BTreeMap::new(),
                recovered: None,
            },
        }
    }

    /// Adds the semaphores that were not recorded, and changes the levels of the others.
    fn configure(
        &mut self,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
        now: Time,
        token_floor: FencingToken,
    ) {
        let throttle = std::mem::replace(&mut self.throttle, Throttle::new(Settings::default()));
        self.throttle = throttle.with_last_token(token_floor);
        for (name, &config) in semaphores {
            match self.entries.get(&**name) {
                Some(entry) => {
                    let level = self.throttle.set_level(now, entry.id, config.level);
                    level.expect("a configured semaphore is not retired");
                }
                None => {
                    let id = self.throttle.add_semaphore(now, config.max, config.level);
                    let name: Arc<str> = name.as_str().into();
                    let entry = Entry { name: Arc::clone(&name), id, config, is_retired: false };
                    self.entries.insert(name, entry);
                }
            }
        }
    }
}

impl State {
    /// Tells the observer of all semaphores.
    fn announce_semaphores(&mut self) {
        for Entry { id, name, .. } in self.names.entries() {
            self.observer.semaphore_added(*id, name);
        }
    }

    /// Notes each semaphore that is not as it was recorded. Events report those that are removed.
    fn touch_changed_semaphores(&mut self, recorded: &BTreeMap<Arc<str>, SemaphoreRecord>) {
        let Some(journal) = &mut self.journal else { return };
        for Entry { id, name, config, .. } in self.names.entries() {
            let is_as_recorded = recorded.get(name).is_some_and(|record| {
                SemaphoreConfig { max: record.max, level: record.level } == *config
            });
            if !is_as_recorded {
                journal.touch_semaphore(*id);
            }
        }
    }

    /// Notes everything, so that it is written to a new store.
    fn touch_everything(&mut self, with_meta: bool) {
        let Self { journal: Some(journal), throttle, names, .. } = self else { return };
        if with_meta {
            journal.touch_meta();
        }
        names.entries().iter().for_each(|entry| journal.touch_semaphore(entry.id));
        throttle.records(None).for_each(|(_, record)| journal.touch_peer(record.id));
        throttle.absent_peers().for_each(|(peer, ..)| journal.touch_peer(peer));
    }

    /// The names of those that are held, but no longer configured.
    fn retired_semaphores(&self) -> Vec<String> {
        let retired = self
            .names
            .entries()
            .iter()
            .filter(|entry| entry.is_retired && self.throttle.last_token(entry.id).is_ok());
        retired.map(|entry| (*entry.name).to_owned()).collect()
    }

    /// Semaphores whose level is not yet that of the configuration.
    fn deferred_semaphores(&self) -> Vec<String> {
        let deferred = self.names.entries().iter().filter(|entry| {
            self.throttle.semaphore_status(entry.id).is_ok_and(|it| it.next_level.is_some())
        });
        deferred.map(|entry| (*entry.name).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use throttle_core::{Admission, Count, Labels, Level};

    use super::*;
    use crate::handle::{LockRequest, Restoration};

    /// A service with the semaphore `A` of one, which draws known ids.
    fn start(seed: u64, wall_clock: WallClock) -> Handle {
        let world = World { entropy: Entropy::from_seed(seed), wall_clock };
        let semaphore = SemaphoreConfig { max: Count::ONE, level: Level(0) };
        let semaphores = BTreeMap::from([("A".to_owned(), semaphore)]);
        let builder = Handle::builder(Settings::default(), &semaphores);
        Handle::start_in(world, builder).expect("there is no store")
    }

    /// S11
    #[tokio::test(start_paused = true)]
    async fn an_id_that_a_living_peer_has_is_drawn_again() {
        let wall_clock = WallClock::at(Duration::ZERO);
        let lease = Duration::from_secs(60);
        let drawn_first = start(7, wall_clock).new_peer(lease, Labels::default()).await.unwrap();
        let handle = start(7, wall_clock);
        let restoration = Restoration {
            peer: drawn_first,
            expires_in: lease,
            locks: BTreeMap::new(),
            labels: Labels::default(),
            sequence: None,
        };
        handle.restore(restoration).await.unwrap();
        let peer = handle.new_peer(lease, Labels::default()).await.unwrap();
        assert_ne!(peer, drawn_first);
        assert_eq!(handle.peer_count().await, Ok(2));
    }

    /// S10
    #[tokio::test(start_paused = true)]
    async fn the_first_token_of_a_run_is_the_next_after_its_floor() {
        let wall_clock = WallClock::at(Duration::from_secs(1_800_000_000));
        let handle = start(7, wall_clock);
        let peer = handle.new_peer(Duration::from_secs(60), Labels::default()).await.unwrap();
        let admission = handle.acquire(peer, "A", LockRequest::now(Count::ONE)).await.unwrap();
        let Admission::Granted { token, .. } = admission else { panic!("it is free") };
        assert_eq!(token.get(), wall_clock.token_floor() + 1);
    }
}
