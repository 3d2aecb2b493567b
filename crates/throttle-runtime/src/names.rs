//! What the semaphores are called.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use throttle_core::SemaphoreId;

/// Names of semaphores, both ways.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<Arc<str>, SemaphoreId>,
    /// Ordered, so that listings are.
    names: BTreeMap<SemaphoreId, Arc<str>>,
}

impl Names {
    pub(crate) fn id(&self, name: &str) -> Result<SemaphoreId, throttle_core::Error> {
        self.ids.get(name).copied().ok_or(throttle_core::Error::UnknownSemaphore)
    }

    /// The name of a semaphore that is known to exist.
    pub(crate) fn name(&self, id: SemaphoreId) -> &Arc<str> {
        self.names.get(&id).expect("every semaphore has a name")
    }

    /// The name of a semaphore for people to read, also if it was removed meanwhile.
    pub(crate) fn name_or_number(&self, id: SemaphoreId) -> Arc<str> {
        self.names.get(&id).map_or_else(|| format!("#{}", id.index()).into(), Arc::clone)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SemaphoreId, &Arc<str>)> {
        self.names.iter().map(|(&id, name)| (id, name))
    }

    pub(crate) fn insert(&mut self, id: SemaphoreId, name: &str) {
        let name: Arc<str> = name.into();
        self.ids.insert(Arc::clone(&name), id);
        self.names.insert(id, name);
    }

    pub(crate) fn remove(&mut self, id: SemaphoreId) {
        if let Some(name) = self.names.remove(&id) {
            self.ids.remove(&name);
        }
    }
}
