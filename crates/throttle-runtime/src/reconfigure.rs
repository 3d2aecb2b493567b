//! Semaphores are added, resized and removed while the service runs: all of it or nothing.

use std::collections::BTreeMap;

use throttle_core::{Count, Level, SemaphoreId, Settings, Time};

use crate::{Handle, state::State};

/// What a semaphore is configured to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SemaphoreConfig {
    /// Sum of the counts that can be held at a time. [`Count::ONE`] makes it a mutex.
    pub max: Count,
    /// Its place in the lock hierarchy.
    pub level: Level,
}

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
    /// # Errors
    ///
    /// [`ReconfigureError::SemaphoreInUse`] if a semaphore in use would be removed or change its
    /// level.
    pub fn reconfigure(
        &self,
        settings: Settings,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
    ) -> Result<Changes, ReconfigureError> {
        self.operate(|state, now| {
            let plan = plan(state, semaphores)?;
            state.throttle.set_settings(settings);
            Ok(carry_out(state, now, plan))
        })
    }
}

/// What to do to which semaphore.
struct Plan<'a> {
    add: Vec<(&'a str, SemaphoreConfig)>,
    change: Vec<(&'a str, SemaphoreId, SemaphoreConfig)>,
    remove: Vec<(String, SemaphoreId)>,
}

/// Checks everything.
fn plan<'a>(
    state: &State,
    semaphores: &'a BTreeMap<String, SemaphoreConfig>,
) -> Result<Plan<'a>, ReconfigureError> {
    let mut plan = Plan { add: Vec::new(), change: Vec::new(), remove: Vec::new() };
    for (id, name) in state.names.iter() {
        let status = state.throttle.semaphore_status(id).expect("every name has a semaphore");
        let wanted = semaphores.get_key_value(&**name);
        let in_use = status.holders > 0 || status.waiters > 0;
        if in_use && wanted.is_none_or(|(_, wanted)| wanted.level != status.level) {
            return Err(ReconfigureError::SemaphoreInUse { name: name.to_string() });
        }
        match wanted {
            None => plan.remove.push((name.to_string(), id)),
            Some((name, &wanted)) if (wanted.max, wanted.level) != (status.max, status.level) => {
                plan.change.push((name, id, wanted));
            }
            Some(_) => {}
        }
    }
    let new = semaphores.iter().filter(|(name, _)| state.names.id(name).is_err());
    plan.add.extend(new.map(|(name, &config)| (name.as_str(), config)));
    Ok(plan)
}

/// Changes everything.
fn carry_out(state: &mut State, now: Time, plan: Plan<'_>) -> Changes {
    let mut changes = Changes::default();
    for (name, id) in plan.remove {
        state.throttle.remove_semaphore(now, id).expect("the plan removes unused ones only");
        state.names.remove(id);
        state.observer.semaphore_removed(id);
        changes.removed.push(name);
    }
    for (name, id, SemaphoreConfig { max, level }) in plan.change {
        if state.throttle.semaphore_status(id).is_ok_and(|status| status.level != level) {
            state.throttle.set_level(now, id, level).expect("the plan moves unused ones only");
        }
        state.throttle.resize(now, id, max).expect("the semaphore is there");
        changes.changed.push(name.to_owned());
    }
    for (name, SemaphoreConfig { max, level }) in plan.add {
        let id = state.throttle.add_semaphore(now, max, level);
        state.names.insert(id, name);
        state.observer.semaphore_added(id, name);
        changes.added.push(name.to_owned());
    }
    changes.removed.sort_unstable();
    changes.changed.sort_unstable();
    changes
}
