//! Semaphores are added, resized and removed while the service runs: all of it or nothing.
//!
//! What to do is worked out outside of the critical section, with a new table of names in place of the
//! old one. Inside of it only what peers decide is checked, and everything is installed: a few dozen
//! nanoseconds for each semaphore that is added or removed.

use std::{collections::BTreeMap, mem, sync::Arc};

use throttle_core::{SemaphoreId, Settings, Time};

use crate::{
    handle::Handle,
    names::{Entry, Names, SemaphoreConfig},
    state::State,
};

/// What a reconfiguration did: names of semaphores, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// New ones.
    pub added: Vec<String>,
    /// Those with another maximum or level than before.
    pub changed: Vec<String>,
    /// Those that are no more.
    pub removed: Vec<String>,
}

/// Why a reconfiguration was refused. It changed nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReconfigureError {
    /// A semaphore would lose its level or its existence while somebody holds or awaits it.
    #[error("semaphore {name:?} is in use, so it can neither be removed nor change its level")]
    SemaphoreInUse {
        /// Which one.
        name: String,
    },
}

impl Handle {
    /// Replaces the settings, and makes the semaphores be those given.
    ///
    /// A raised maximum serves the queue at once. A lowered one revokes nothing; waiters that ask for
    /// more than it are told that they can never be served.
    ///
    /// Others see either nothing of it or all of it, and wait for a small part of the time that it
    /// takes: to work out what to do among 100,000 semaphores keeps the calling thread busy for some
    /// tens of milliseconds. Reconfigurations take turns.
    ///
    /// # Errors
    ///
    /// [`ReconfigureError::SemaphoreInUse`] if a semaphore in use would be removed or change its
    /// level.
    #[expect(clippy::missing_panics_doc, reason = "a panic inside is a defect of this crate")]
    pub fn reconfigure(
        &self,
        settings: Settings,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
    ) -> Result<Changes, ReconfigureError> {
        let _turn = self.reconfiguring().lock().expect("no reconfiguration panics");
        let (names, new_ids) =
            self.operate(|state, _| (Arc::clone(&state.names), state.throttle.next_semaphores()));
        let mut plan = Plan::new(&names, semaphores, new_ids);
        // Whose lease has ended uses nothing, also if very many others have their turn before.
        self.service.work_off_backlog();
        self.operate(|state, now| {
            plan.check(state)?;
            state.throttle.set_settings(settings);
            plan.install(state, now);
            Ok(())
        })?;
        Ok(plan.changes)
    }
}

/// What to do to which semaphore.
struct Plan {
    add: Vec<Entry>,
    change: Vec<Change>,
    remove: Vec<Entry>,
    /// The table of names from then on; afterwards the one before, which is dropped outside of the
    /// critical section.
    names: Arc<Names>,
    changes: Changes,
}

/// A semaphore that stays.
struct Change {
    /// As it will be.
    entry: Entry,
    moves: bool,
}

impl Plan {
    /// Compares what is in force with what is wanted; `new_ids` are for those that are added.
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
                let id = new_ids.next().expect("there is always a next one");
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
        };
        Self { add, change, remove, names: next, changes }
    }

    /// Refuses to take from anybody what they hold or await.
    fn check(&self, state: &State) -> Result<(), ReconfigureError> {
        let moved = self.change.iter().filter(|change| change.moves).map(|change| &change.entry);
        for Entry { name, id, .. } in self.remove.iter().chain(moved) {
            if state.throttle.is_in_use(*id).expect("what has a name is there") {
                return Err(ReconfigureError::SemaphoreInUse { name: (**name).to_owned() });
            }
        }
        Ok(())
    }

    /// Changes everything.
    fn install(&mut self, state: &mut State, now: Time) {
        for Entry { id, .. } in &self.remove {
            state.throttle.remove_semaphore(now, *id).expect("those in use were refused");
            state.observer.semaphore_removed(*id);
        }
        for Change { entry: Entry { id, config, .. }, moves } in &self.change {
            if *moves {
                state.throttle.set_level(now, *id, config.level).expect("it is not in use");
            }
            state.throttle.resize(now, *id, config.max).expect("it is there");
        }
        for Entry { name, id, config } in &self.add {
            let added = state.throttle.add_semaphore(now, config.max, config.level);
            assert_eq!(added, *id, "only reconfigurations add semaphores, one after the other");
            state.observer.semaphore_added(*id, name);
        }
        mem::swap(&mut state.names, &mut self.names);
    }
}
