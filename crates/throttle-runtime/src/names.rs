//! The names of the semaphores, and the configuration of each.
//!
//! A table of names is immutable. A reconfiguration builds a new table outside of the critical section and
//! replaces the old one by it. A clone of the [`Arc`] of a table can therefore be read without the mutex.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use throttle_core::{Count, Level, SemaphoreId};

/// The configuration of a semaphore.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SemaphoreConfig {
    /// The sum of the counts that can be held at one time. [`Count::ONE`] makes it a mutex.
    pub max: Count,
    /// Its place in the lock hierarchy.
    pub level: Level,
}

/// All semaphores of a configuration, found by name and by id.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<Arc<str>, SemaphoreId>,
    names: BTreeMap<SemaphoreId, Arc<str>>,
    entries: Vec<Entry>,
}

/// A semaphore.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) id: SemaphoreId,
    /// As configured. A new level may be deferred, so that it is not in force yet.
    pub(crate) config: SemaphoreConfig,
    /// Whether it is no longer configured. It may be held still, or it is removed already.
    pub(crate) is_retired: bool,
}

impl Names {
    /// A table of `entries`, which must be sorted by name. O(n log n).
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        debug_assert!(entries.is_sorted_by(|one, other| one.name < other.name));
        Self {
            ids: entries.iter().map(|entry| (Arc::clone(&entry.name), entry.id)).collect(),
            names: entries.iter().map(|entry| (entry.id, Arc::clone(&entry.name))).collect(),
            entries,
        }
    }

    pub(crate) fn id(&self, name: &str) -> Result<SemaphoreId, throttle_core::Error> {
        self.ids.get(name).copied().ok_or(throttle_core::Error::UnknownSemaphore)
    }

    /// The name of a semaphore that is in this table.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub(crate) fn name(&self, id: SemaphoreId) -> &Arc<str> {
        self.names.get(&id).expect("every semaphore has a name")
    }

    /// The semaphore with this name, or the refusal that there is none. O(log n).
    pub(crate) fn entry(&self, name: &str) -> Result<&Entry, throttle_core::Error> {
        self.find(name).ok_or(throttle_core::Error::UnknownSemaphore)
    }

    /// The name of a semaphore, or its number if it is no longer in this table. For logs.
    pub(crate) fn name_or_number(&self, id: SemaphoreId) -> Arc<str> {
        self.names.get(&id).map_or_else(|| format!("#{}", id.index()).into(), Arc::clone)
    }

    /// All semaphores, sorted by name.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The semaphore with this name, if there is one. O(log n).
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        let position = self.entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
        self.entries.get(position)
    }
}
