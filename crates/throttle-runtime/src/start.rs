//! How a service starts.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::Settings;

use crate::{
    handle::Handle,
    names::SemaphoreConfig,
    observer::{NoopObserver, Observer},
    service::Service,
    timer,
};

impl Handle {
    /// Starts a service with these semaphores, all free.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers, and if the system has no randomness to give.
    pub fn start(settings: Settings, semaphores: &BTreeMap<String, SemaphoreConfig>) -> Self {
        Self::start_observed(settings, semaphores, Box::new(NoopObserver))
    }

    /// Starts a service and tells `observer` of everything that happens.
    ///
    /// # Panics
    ///
    /// As [`Handle::start`].
    pub fn start_observed(
        settings: Settings,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
        observer: Box<dyn Observer>,
    ) -> Self {
        let service = Arc::new(Service::new(settings, observer));
        let handle = Self { service };
        handle.reconfigure(settings, semaphores).expect("nothing is in use before anybody came");
        let rearm = Arc::clone(&handle.service.rearm);
        tokio::spawn(timer::run(Arc::downgrade(&handle.service), rearm));
        handle
    }
}
