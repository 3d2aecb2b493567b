//! Reconfiguration: semaphores are added, resized and removed while the service runs, all or none.
//!
//! The plan and the new table of names are made outside of the critical section. Inside of it, the plan is
//! checked against the locks of the peers and installed, which takes a few dozen nanoseconds for each
//! semaphore that is added or removed.

use std::{collections::BTreeMap, mem, sync::Arc};

use throttle_core::{SemaphoreId, Settings, Time};

use crate::{
    error::Error,
    handle::Handle,
    names::{Entry, Names, SemaphoreConfig},
    service::NO_PANIC,
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

/// Why a reconfiguration was refused. It changed nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReconfigureError {
    /// A semaphore that a peer holds or waits for would be removed or change its level.
    #[error("semaphore {name:?} is in use, so it can neither be removed nor change its level")]
    SemaphoreInUse {
        /// The name of the semaphore.
        name: String,
    },
}

impl Handle {
    /// Replaces the settings and the set of semaphores.
    ///
    /// A raised maximum serves the queue at once. A lowered one revokes no lock; waiters that requested more
    /// than it are refused with `never_acquirable`.
    ///
    /// Other operations see all of the change or none of it. They wait for a small part of the time that
    /// it takes, but the calling thread is busy for tens of milliseconds if there are 100,000 semaphores, or
    /// if very many expired peers have to be removed first. A server therefore drives this future on a
    /// thread that serves no requests. Only one reconfiguration runs at a time.
    ///
    /// # Errors
    ///
    /// [`ReconfigureError::SemaphoreInUse`] if a semaphore in use would be removed or change its level.
    #[expect(clippy::missing_panics_doc, reason = "a panic inside is a defect of this crate")]
    pub async fn reconfigure(
        &self,
        settings: Settings,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
    ) -> Result<Changes, ReconfigureError> {
        let _turn = self.service.reconfiguring.lock().await;
        let in_force =
            self.look(|state| (Arc::clone(&state.names), state.throttle.next_semaphore_ids()));
        let (names, new_ids) = in_force.await.expect(NO_PANIC);
        let mut plan = Plan::new(&names, semaphores, new_ids);
        // A peer whose lease has ended uses no semaphore, however many expired peers are removed before it.
        self.service.work_off_backlog();
        let answer = self.service.answer(|state, now| {
            let checked = plan.check(state);
            if checked.is_ok() {
                state.throttle.set_settings(settings);
                plan.install(state, now);
            }
            Ok::<_, Error>(checked)
        });
        answer.await.expect(NO_PANIC)?;
        Ok(plan.changes)
    }
}

/// Adds the semaphores of a service that is being started.
pub(crate) fn install_first(
    state: &mut State,
    now: Time,
    semaphores: &BTreeMap<String, SemaphoreConfig>,
) {
    let new_ids = state.throttle.next_semaphore_ids();
    Plan::new(&Names::default(), semaphores, new_ids).install(state, now);
}

/// The changes from the semaphores in force to those that are wanted.
struct Plan {
    add: Vec<Entry>,
    change: Vec<Change>,
    remove: Vec<Entry>,
    /// The new table of names; after the installation the old one, so that it is dropped outside of the
    /// critical section.
    names: Arc<Names>,
    changes: Changes,
}

/// A semaphore that gets another configuration.
struct Change {
    /// With the new configuration.
    entry: Entry,
    /// Whether the level changes.
    moves: bool,
}

impl Plan {
    /// Compares the semaphores in force with those that are wanted. Semaphores to add get `new_ids`.
    fn new(
        names: &Names,
        wanted: &BTreeMap<String, SemaphoreConfig>,
        mut new_ids: impl Iterator<Item = SemaphoreId>,
    ) -> Self {
        let (mut add, mut change) = (Vec::new(), Vec::new());
        let entries = wanted.iter().map(|(name, &config)| match names.find(name) {
            Some(old) => {
                let entry = Entry { config, ..old.clone() };
                if old.config != config {
                    let moves = old.config.level != config.level;
                    change.push(Change { entry: entry.clone(), moves });
                }
                entry
            }
            None => {
                let id = new_ids.next().expect("ids do not run out");
                let entry = Entry { name: name.as_str().into(), id, config };
                add.push(entry.clone());
                entry
            }
        });
        let next = Arc::new(Names::new(entries.collect()));
        let is_gone = |entry: &&Entry| !wanted.contains_key(&*entry.name);
        let remove: Vec<_> = names.entries().iter().filter(is_gone).cloned().collect();
        let owned = |entry: &Entry| (*entry.name).to_owned();
        let changes = Changes {
            added: add.iter().map(owned).collect(),
            changed: change.iter().map(|change| owned(&change.entry)).collect(),
            removed: remove.iter().map(owned).collect(),
            ..Changes::default()
        };
        Self { add, change, remove, names: next, changes }
    }

    /// Refuses to remove a semaphore, or to change its level, while it is held or awaited.
    fn check(&self, state: &State) -> Result<(), ReconfigureError> {
        let moved = self.change.iter().filter(|change| change.moves).map(|change| &change.entry);
        for Entry { name, id, .. } in self.remove.iter().chain(moved) {
            if state.throttle.is_in_use(*id).expect("a semaphore with a name exists") {
                return Err(ReconfigureError::SemaphoreInUse { name: (**name).to_owned() });
            }
        }
        Ok(())
    }

    /// Puts the plan into force.
    fn install(&mut self, state: &mut State, now: Time) {
        for Entry { id, .. } in &self.remove {
            state.throttle.remove_semaphore(now, *id).expect("it is not in use");
            state.observer.semaphore_removed(*id);
        }
        for Change { entry: Entry { id, config, .. }, moves } in &self.change {
            if *moves {
                state.throttle.set_level(now, *id, config.level).expect("it is not in use");
            }
            state.throttle.resize(now, *id, config.max).expect("the semaphore exists");
        }
        for Entry { name, id, config } in &self.add {
            let added = state.throttle.add_semaphore(now, config.max, config.level);
            assert_eq!(added, *id, "only reconfigurations add semaphores, one at a time");
            state.observer.semaphore_added(*id, name);
        }
        mem::swap(&mut state.names, &mut self.names);
    }
}
