//! Reconfiguration: semaphores are added, resized and removed while the service runs, all or none.
//!
//! The plan and the new table of names are made outside of the critical section. Inside of it, the plan is
//! installed, which takes a few dozen nanoseconds for each semaphore that is added or removed.
//!
//! A semaphore that is removed stays in the table, marked as retired, because it may be held still. The next
//! reconfiguration after its last lock leaves it out.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use throttle_core::{SemaphoreId, Settings, Time};

use crate::{
    error::Error,
    handle::Handle,
    names::{Entry, Names, SemaphoreConfig},
    state::State,
};

/// What a reconfiguration changed: names of semaphores, sorted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Semaphores that are new.
    pub added: Vec<String>,
    /// Semaphores whose maximum or level changed.
    pub changed: Vec<String>,
    /// Semaphores that no longer exist.
    pub removed: Vec<String>,
    /// Semaphores that are to be removed, but are still held. Nobody is granted them any more, and each is
    /// removed with its last lock.
    pub retired: Vec<String>,
    /// Semaphores whose level changes as soon as they are unused.
    pub deferred: Vec<String>,
}

impl Handle {
    /// Replaces the settings and the set of semaphores.
    ///
    /// A raised maximum serves the queue at once. A lowered one revokes no lock; waiters that requested more
    /// than it are refused with `never_acquirable`.
    ///
    /// A semaphore that is to be removed while it is held or awaited is *retired*: its holders keep their locks, its
    /// waiters are refused with `unknown_semaphore`, nobody is granted it any more, and it is removed with the last
    /// lock. A changed level of a semaphore in use waits until the semaphore is unused.
    ///
    /// Other operations see all of the change or none of it. They wait for a small part of the time that
    /// it takes, but the calling thread is busy for tens of milliseconds if there are 100,000 semaphores, or
    /// if very many expired peers have to be removed first. A server therefore drives this future on a
    /// thread that serves no requests. Only one reconfiguration runs at a time.
    ///
    /// # Errors
    ///
    /// Only [`Error::Failed`] and [`Error::StoreFailed`].
    pub async fn reconfigure(
        &self,
        settings: Settings,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
    ) -> Result<Changes, Error> {
        let _turn = self.service.reconfiguring.lock().await;
        loop {
            let mut plan = Plan::new(self.look(InForce::read).await?, semaphores);
            // A peer whose lease has ended uses no semaphore, however many expired peers are removed before it.
            self.service.work_off_backlog();
            let answer = self.service.answer(|state, now| {
                let fits = plan.fits(state);
                if fits {
                    state.throttle.set_settings(settings);
                    plan.install(state, now);
                }
                Ok::<_, Error>(fits)
            });
            if answer.await? {
                return Ok(plan.changes());
            }
        }
    }
}

/// What a plan is made from.
struct InForce {
    names: Arc<Names>,
    /// Those of the retired semaphores that are still held.
    held: BTreeSet<SemaphoreId>,
    /// For the semaphores that are added next.
    new_ids: Box<dyn Iterator<Item = SemaphoreId> + Send>,
}

impl InForce {
    fn read(state: &State) -> Self {
        let retired = state.names.entries().iter().filter(|entry| entry.is_retired);
        let held =
            retired.map(|entry| entry.id).filter(|&id| state.throttle.last_token(id).is_ok());
        let new_ids = Box::new(state.throttle.next_semaphore_ids());
        Self { names: Arc::clone(&state.names), held: held.collect(), new_ids }
    }
}

/// The changes from the semaphores in force to those that are wanted.
struct Plan {
    add: Vec<Entry>,
    /// With the new configuration.
    change: Vec<Entry>,
    /// Retired semaphores that are wanted again.
    reinstate: Vec<Entry>,
    remove: Vec<Entry>,
    /// The new table of names; after the installation the old one, so that it is dropped outside of the
    /// critical section.
    names: Arc<Names>,
    /// What the installation finds out.
    retired: Vec<Arc<str>>,
    deferred: Vec<Arc<str>>,
}

impl Plan {
    /// Compares the semaphores in force with those that are wanted. Semaphores to add get `new_ids`.
    fn new(in_force: InForce, wanted: &BTreeMap<String, SemaphoreConfig>) -> Self {
        let InForce { names, held, mut new_ids } = in_force;
        let (mut add, mut change, mut reinstate) = (Vec::new(), Vec::new(), Vec::new());
        let entries = wanted.iter().map(|(name, &config)| match names.find(name) {
            Some(old) if !old.is_retired => {
                let entry = Entry { config, ..old.clone() };
                if old.config != config {
                    change.push(entry.clone());
                }
                entry
            }
            Some(old) if held.contains(&old.id) => {
                let entry = Entry { config, is_retired: false, ..old.clone() };
                reinstate.push(entry.clone());
                entry
            }
            _ => {
                let id = new_ids.next().expect("ids do not run out");
                let entry = Entry { name: name.as_str().into(), id, config, is_retired: false };
                add.push(entry.clone());
                entry
            }
        });
        let mut entries: Vec<_> = entries.collect();
        let unwanted = names.entries().iter().filter(|entry| !wanted.contains_key(&*entry.name));
        let (retired, remove): (Vec<_>, Vec<_>) =
            unwanted.cloned().partition(|entry| entry.is_retired);
        // Whether they are still held is known only when they are removed.
        entries.extend(remove.iter().map(|entry| Entry { is_retired: true, ..entry.clone() }));
        entries.extend(retired.into_iter().filter(|entry| held.contains(&entry.id)));
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let names = Arc::new(Names::new(entries));
        let (retired, deferred) = (Vec::new(), Vec::new());
        Self { add, change, reinstate, remove, names, retired, deferred }
    }

    /// Whether the retired semaphores that are wanted again still exist. If not, another plan is needed.
    fn fits(&self, state: &State) -> bool {
        self.reinstate.iter().all(|entry| state.throttle.last_token(entry.id).is_ok())
    }

    /// Puts the plan into force.
    fn install(&mut self, state: &mut State, now: Time) {
        let Self { add, change, reinstate, remove, retired, deferred, .. } = self;
        for Entry { id, name, .. } in remove {
            if state.throttle.remove_semaphore(now, *id).expect(EXISTS) {
                state.observer.semaphore_removed(*id);
                if let Some(journal) = &mut state.journal {
                    journal.remove_semaphore(Arc::clone(name));
                }
            } else if state.throttle.last_token(*id).is_ok() {
                retired.push(Arc::clone(name));
            }
        }
        for Entry { id, name, config, .. } in change {
            if !state.throttle.set_level(now, *id, config.level).expect(EXISTS) {
                deferred.push(Arc::clone(name));
            }
            state.throttle.resize(now, *id, config.max).expect(EXISTS);
            state.touch_semaphore(*id);
        }
        for Entry { id, name, config, .. } in reinstate {
            let SemaphoreConfig { max, level } = *config;
            if !state.throttle.reinstate_semaphore(now, *id, max, level).expect(EXISTS) {
                deferred.push(Arc::clone(name));
            }
            state.touch_semaphore(*id);
        }
        for Entry { name, id, config, .. } in add {
            let added = state.throttle.add_semaphore(now, config.max, config.level);
            assert_eq!(added, *id, "only reconfigurations add semaphores, one at a time");
            state.observer.semaphore_added(*id, name);
            state.touch_semaphore(*id);
        }
        mem::swap(&mut state.names, &mut self.names);
    }

    /// What was changed.
    fn changes(self) -> Changes {
        let Self { add, change, reinstate, remove, retired, deferred, .. } = self;
        // Both are sorted by name.
        let is_gone = |entry: &&Entry| retired.binary_search(&entry.name).is_err();
        let sorted = |mut names: Vec<String>| {
            names.sort_unstable();
            names
        };
        let owned = |entry: &Entry| (*entry.name).to_owned();
        let strings =
            |names: &[Arc<str>]| sorted(names.iter().map(|name| (**name).to_owned()).collect());
        Changes {
            added: sorted(add.iter().chain(&reinstate).map(owned).collect()),
            changed: change.iter().map(owned).collect(),
            removed: remove.iter().filter(is_gone).map(owned).collect(),
            retired: strings(&retired),
            deferred: strings(&deferred),
        }
    }
}

const EXISTS: &str = "a semaphore that is not retired exists";
