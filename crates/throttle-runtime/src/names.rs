//! What the semaphores are called, and what they are configured to be.
//!
//! A table of names never changes: a reconfiguration makes a new one outside of the critical section
//! and puts it in the place of the old one. So whoever has cloned the [`Arc`] of a table can go on
//! reading it without holding up anybody.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use throttle_core::{Count, Level, SemaphoreId};

/// What a semaphore is configured to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SemaphoreConfig {
    /// Sum of the counts that can be held at a time. [`Count::ONE`] makes it a mutex.
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
    pub(crate) config: SemaphoreConfig,
}

impl Names {
    /// The table of these semaphores, which are sorted by name. O(n log n).
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

    /// The name of a semaphore that existed when this table was in force.
    pub(crate) fn name(&self, id: SemaphoreId) -> &Arc<str> {
        self.names.get(&id).expect("every semaphore has a name")
    }

    /// The semaphore with this name. O(log n).
    pub(crate) fn entry(&self, name: &str) -> Result<&Entry, throttle_core::Error> {
        self.find(name).ok_or(throttle_core::Error::UnknownSemaphore)
    }

    /// The name of a semaphore for people to read, also if it was removed meanwhile.
    pub(crate) fn name_or_number(&self, id: SemaphoreId) -> Arc<str> {
        self.names.get(&id).map_or_else(|| format!("#{}", id.index()).into(), Arc::clone)
    }

    /// All semaphores, sorted by name.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The semaphore with this name. O(log n).
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        let position = self.entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
        self.entries.get(position)
    }
}
