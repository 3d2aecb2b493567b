//! Recovery: a service continues with the state of an earlier one, from the records that it left.
//!
//! Records come from outside. The state machine checks each of them, and one that it could not have written refuses
//! the whole start: nothing is dropped silently. What the recovery itself changes becomes durable before the service
//! starts: a queue that is served, a semaphore that is no longer configured, and everything if the records came from
//! another place than the store.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use throttle_core::{Damage, Recovery, SemaphoreId, Throttle, Time};

use crate::{
    clock::{Calendar, Clock},
    handle::Handle,
    names::{Entry, SemaphoreConfig},
    store::{AbsentRecord, Meta, PeerRecord, Record, SemaphoreRecord, Store, StoreError, UnixTime},
};

/// What a service has recovered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recovered {
    /// How many peers.
    pub peers: u64,
    /// How many locks they held.
    pub locks: u64,
    /// How many of them waited for a lock.
    pub waiters: u64,
    /// Semaphores that are no longer configured, but are held. Nobody is granted them any more.
    pub retired: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// Since when the state was kept, by how many services whatsoever.
    pub made_at: UnixTime,
}

/// What a service began with.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) recovered: Option<Recovered>,
    /// Since when every peer is known, how long before the start of the service.
    pub(crate) age_at_start: Duration,
    /// The meta record as it was at the start.
    pub(crate) meta: Meta,
    pub(crate) calendar: Calendar,
    pub(crate) is_durable: bool,
}

/// The state of an earlier service.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) meta: Meta,
    pub(crate) throttle: Throttle,
    /// The semaphores that were recorded. Each that is configured has the configured maximum and the recorded level;
    /// the others are retired, or removed if nobody held them.
    pub(crate) entries: BTreeMap<Arc<str>, Entry>,
    /// The same semaphores as they were recorded.
    pub(crate) recorded: BTreeMap<Arc<str>, SemaphoreRecord>,
    /// Which semaphores are retired is not known yet.
    pub(crate) recovered: Recovered,
}

/// Loads the state in a store; `None` if the store is new. `throttle` has neither semaphores nor peers.
///
/// Nothing is granted if the state was kept for less than the grace period: there may be holders that are not in it.
///
/// # Errors
///
/// That of the store, and an error that names what is wrong with a record.
pub(crate) fn load(
    store: &mut dyn Store,
    configured: &BTreeMap<String, SemaphoreConfig>,
    throttle: Throttle,
    (now, calendar): (Time, Calendar),
    grace_period: Duration,
) -> Result<Option<Loaded>, StoreError> {
    let clock = Clock::start();
    let mut loader = Loader {
        configured,
        calendar,
        now,
        stage: Stage::Semaphores(Box::new(throttle)),
        entries: BTreeMap::new(),
        ids: HashMap::new(),
        recorded: BTreeMap::new(),
        peers: 0,
        locks: 0,
        waiters: 0,
    };
    let Some(meta) = store.load(&mut |record| loader.receive(record))? else {
        return match loader.is_empty() {
            true => Ok(None),
            false => Err(damaged("there are records, but no meta record")),
        };
    };
    let recovery = loader.begin_peers()?;
    if calendar.age(meta.made_at) < grace_period {
        recovery.suspend_grants();
    }
    let has_tokens = recovery.token_floor(meta.token_floor);
    has_tokens.map_err(|damage| loader.damage(damage))?;
    let Loader { stage, entries, recorded, peers, locks, waiters, .. } = loader;
    let Stage::Peers(recovery) = stage else { unreachable!("the peers have just begun") };
    let throttle = recovery.finish();
    let (retired, took, made_at) = (Vec::new(), clock.elapsed(), meta.made_at);
    let recovered = Recovered { peers, locks, waiters, retired, took, made_at };
    Ok(Some(Loaded { meta, throttle, entries, recorded, recovered }))
}

/// Receives the records of a store.
struct Loader<'a> {
    configured: &'a BTreeMap<String, SemaphoreConfig>,
    calendar: Calendar,
    now: Time,
    stage: Stage,
    entries: BTreeMap<Arc<str>, Entry>,
    ids: HashMap<Arc<str>, SemaphoreId>,
    recorded: BTreeMap<Arc<str>, SemaphoreRecord>,
    peers: u64,
    locks: u64,
    waiters: u64,
}

/// How far the loading is. All semaphores have to be known before the first peer.
enum Stage {
    Semaphores(Box<Throttle>),
    Peers(Box<Recovery>),
    Between,
}

impl Loader<'_> {
    fn is_empty(&self) -> bool {
        matches!(self.stage, Stage::Semaphores(_)) && self.recorded.is_empty()
    }

    fn receive(&mut self, record: Record) -> Result<(), StoreError> {
        match record {
            Record::Semaphore(record) => self.semaphore(record),
            Record::Peer(record) => self.peer(record),
            Record::Absent(AbsentRecord { peer, sequence, since }) => {
                let since = self.calendar.to_time(since);
                self.begin_peers()?.absent(peer, sequence, since);
                Ok(())
            }
        }
    }

    fn semaphore(&mut self, record: SemaphoreRecord) -> Result<(), StoreError> {
        if !matches!(self.stage, Stage::Semaphores(_)) {
            return Err(damaged(format!("semaphore {:?} comes after a peer", record.name)));
        }
        match self.recorded.insert(Arc::clone(&record.name), record) {
            Some(twice) => Err(damaged(format!("semaphore {:?} is recorded twice", twice.name))),
            None => Ok(()),
        }
    }

    fn peer(&mut self, record: PeerRecord) -> Result<(), StoreError> {
        self.begin_peers()?;
        let Self { ids, calendar, .. } = self;
        let peer = record.id;
        self.peers += 1;
        self.locks += record.held.len() as u64;
        self.waiters += u64::from(record.pending.is_some());
        let record = record.map(
            |name| {
                let unknown =
                    || format!("peer {peer} has a lock of the unknown semaphore {name:?}");
                ids.get(&name).copied().ok_or_else(|| damaged(unknown()))
            },
            |unix| calendar.to_time(unix),
        )?;
        let recovered = self.begin_peers()?.peer(record);
        recovered.map_err(|damage| self.damage(damage))
    }

    /// Ends the semaphores, if they have not ended yet.
    fn begin_peers(&mut self) -> Result<&mut Recovery, StoreError> {
        if let Stage::Semaphores(_) = self.stage {
            let Stage::Semaphores(throttle) = std::mem::replace(&mut self.stage, Stage::Between)
            else {
                unreachable!("it was just matched")
            };
            let recovery = self.add_semaphores(*throttle)?;
            self.stage = Stage::Peers(Box::new(recovery));
        }
        match &mut self.stage {
            Stage::Peers(recovery) => Ok(recovery),
            Stage::Semaphores(_) | Stage::Between => Err(damaged("an earlier record was refused")),
        }
    }

    fn add_semaphores(&mut self, mut throttle: Throttle) -> Result<Recovery, StoreError> {
        for (name, record) in &self.recorded {
            let configured = self.configured.get(&**name).copied();
            let SemaphoreRecord { max, level, .. } = *record;
            let max = configured.map_or(max, |config| config.max);
            let id = throttle.add_semaphore(self.now, max, level);
            let config = configured.unwrap_or(SemaphoreConfig { max, level });
            let is_retired = configured.is_none();
            let entry = Entry { name: Arc::clone(name), id, config, is_retired };
            self.entries.insert(Arc::clone(name), entry);
            self.ids.insert(Arc::clone(name), id);
        }
        let mut recovery = Recovery::new(throttle, self.now);
        for (name, record) in &self.recorded {
            let entry = &self.entries[name];
            let mut prepared = recovery.semaphore(entry.id, record.last_token);
            if entry.is_retired {
                prepared = prepared.and_then(|()| recovery.retire(entry.id));
            }
            prepared.map_err(|damage| self.damage(damage))?;
        }
        Ok(recovery)
    }

    fn damage(&self, damage: Damage) -> StoreError {
        let name = |id| {
            let entry = self.entries.values().find(|entry| entry.id == id);
            entry.map_or_else(|| "?".into(), |entry| Arc::clone(&entry.name))
        };
        damaged(damage.map_semaphore(name).to_string())
    }
}

fn damaged(what: impl AsRef<str>) -> StoreError {
    StoreError::new(format!("the records are damaged: {}", what.as_ref()))
}

impl Handle {
    /// What the service recovered at its start; `None` if it began empty.
    pub fn recovery(&self) -> Option<&Recovered> {
        self.service.memory.recovered.as_ref()
    }

    /// How long the service, and those whose state it continues, has known every peer: a peer that was created in
    /// this time and is unknown now has expired or was removed. It is the [uptime](Self::uptime) unless a state
    /// was recovered.
    pub fn remembers_for(&self) -> Duration {
        self.service.memory.age_at_start + self.uptime()
    }

    /// How much is left of the [grace period](crate::Builder::grace_period), in which nothing new is granted;
    /// `None` if it is over, or there is none. `None` also if the service has failed.
    pub fn grace_left(&self) -> Option<Duration> {
        let mut state = self.service.lock()?;
        let until = state.grace_until?;
        Some(until - state.observe(self.service.clock.now()))
    }

    /// Whether the service has a store, so that its state survives the end of its process at any moment.
    pub fn is_durable(&self) -> bool {
        self.service.memory.is_durable
    }
}
