//! The start of a service: what it begins with, and where its state is kept.

use std::{collections::BTreeMap, fmt, time::Duration};

use throttle_core::Settings;

use crate::{
    handle::Handle,
    names::SemaphoreConfig,
    observer::{NoopObserver, Observer},
    store::{Store, StoreError},
    world::World,
};

/// What a service starts with, from [`Handle::builder`].
#[must_use = "nothing happens before `start`"]
pub struct Builder<'a> {
    pub(crate) settings: Settings,
    pub(crate) semaphores: &'a BTreeMap<String, SemaphoreConfig>,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) grace_period: Duration,
    pub(crate) recover_from: Option<Box<dyn Store>>,
    pub(crate) store: Option<Box<dyn Store>>,
}

impl Handle {
    /// A service with these semaphores, to be [started](Builder::start).
    pub fn builder(
        settings: Settings,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
    ) -> Builder<'_> {
        Builder {
            settings,
            semaphores,
            observer: Box::new(NoopObserver),
            grace_period: Duration::ZERO,
            recover_from: None,
            store: None,
        }
    }

    /// Starts a service with these semaphores, all of them free.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers, and if the operating system has no randomness to give.
    pub fn start(settings: Settings, semaphores: &BTreeMap<String, SemaphoreConfig>) -> Self {
        Self::builder(settings, semaphores).start().expect(NO_STORE)
    }

    /// Starts a service that passes every event to `observer`.
    ///
    /// # Panics
    ///
    /// As [`Handle::start`].
    pub fn start_observed(
        settings: Settings,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
        observer: Box<dyn Observer>,
    ) -> Self {
        Self::builder(settings, semaphores).observer(observer).start().expect(NO_STORE)
    }
}

impl Builder<'_> {
    /// Passes every event to `observer`.
    pub fn observer(self, observer: Box<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// For this long after the start nothing new is granted. Restores, heartbeats and releases are served, and
    /// requests for locks queue in order; when the time is over, the queues are served.
    ///
    /// It gives clients that hold locks the time to restore them, if the service has forgotten everything. So it
    /// should be as long as the longest lease that clients use.
    ///
    /// It begins when the state is [made](crate::Recovered::made_at). A service that recovers a state goes on with
    /// what is left of the period: holders from before the state was made may still have to come back.
    pub fn grace_period(self, grace_period: Duration) -> Self {
        Self { grace_period, ..self }
    }

    /// Begins with the state in `source`, to which nothing is written. It is dropped when it has been read.
    ///
    /// Together with a [store](Self::store), that must be new.
    pub fn recover_from(self, source: Box<dyn Store>) -> Self {
        Self { recover_from: Some(source), ..self }
    }

    /// Begins with the state in `store`, and keeps it there: no change is visible to anybody before it is
    /// durable.
    pub fn store(self, store: Box<dyn Store>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Starts the service.
    ///
    /// It blocks the thread while it loads the state, so inside of a runtime it should be called by
    /// `spawn_blocking`. Without a store and a source it does not block and cannot fail.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the state cannot be loaded or is damaged, or if the store cannot be written.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers, and if the operating system has no randomness to give.
    pub fn start(self) -> Result<Handle, StoreError> {
        Handle::start_in(World::real(), self)
    }
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, semaphores, grace_period, .. } = self;
        f.debug_struct("Builder")
            .field("settings", settings)
            .field("semaphores", &semaphores.len())
            .field("grace_period", grace_period)
            .field("recovers", &self.recover_from.is_some())
            .field("stores", &self.store.is_some())
            .finish_non_exhaustive()
    }
}

const NO_STORE: &str = "without a store nothing can fail";
