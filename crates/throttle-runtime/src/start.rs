//! The start of a service.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::Settings;

use crate::{
    handle::Handle,
    names::SemaphoreConfig,
    observer::{NoopObserver, Observer},
    reconfigure::install_first,
    service::Service,
    timer,
    world::World,
};

impl Handle {
    /// Starts a service with these semaphores, all of them free.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers, and if the operating system has no randomness to give.
    pub fn start(settings: Settings, semaphores: &BTreeMap<String, SemaphoreConfig>) -> Self {
        Self::start_observed(settings, semaphores, Box::new(NoopObserver))
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
        Self::start_in(World::real(), settings, semaphores, observer)
    }

    fn start_in(
        world: World,
        settings: Settings,
        semaphores: &BTreeMap<String, SemaphoreConfig>,
        observer: Box<dyn Observer>,
    ) -> Self {
        let service = Arc::new(Service::new(world, settings, observer));
        service.with_state(|state, now, _| install_first(state, now, semaphores));
        tokio::spawn(timer::run(Arc::downgrade(&service), Arc::clone(&service.rearm)));
        Self { service }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use throttle_core::{Admission, Count, Labels, Level};

    use super::*;
    use crate::{
        clock::Clock,
        entropy::Entropy,
        handle::{LockRequest, Restoration},
    };

    /// A service with the semaphore `A` of one, which draws known ids.
    fn start(seed: u64, token_floor: u64) -> Handle {
        let entropy = Entropy::from_seed(seed);
        let world = World { clock: Clock::start(), entropy, token_floor };
        let semaphore = SemaphoreConfig { max: Count::ONE, level: Level(0) };
        let semaphores = BTreeMap::from([("A".to_owned(), semaphore)]);
        Handle::start_in(world, Settings::default(), &semaphores, Box::new(NoopObserver))
    }

    /// S11
    #[tokio::test(start_paused = true)]
    async fn an_id_that_a_living_peer_has_is_drawn_again() {
        let lease = Duration::from_secs(60);
        let drawn_first = start(7, 0).new_peer(lease, Labels::default()).await.unwrap();
        let handle = start(7, 0);
        let restoration = Restoration {
            peer: drawn_first,
            expires_in: lease,
            locks: BTreeMap::new(),
            labels: Labels::default(),
            sequence: None,
        };
        handle.restore(restoration).await.unwrap();
        let peer = handle.new_peer(lease, Labels::default()).await.unwrap();
        assert_ne!(peer, drawn_first);
        assert_eq!(handle.peer_count().await, 2);
    }

    /// S10
    #[tokio::test(start_paused = true)]
    async fn the_first_token_of_a_run_is_the_next_after_its_floor() {
        let handle = start(7, 41);
        let peer = handle.new_peer(Duration::from_secs(60), Labels::default()).await.unwrap();
        let admission = handle.acquire(peer, "A", LockRequest::now(Count::ONE)).await;
        assert!(matches!(admission, Ok(Admission::Granted { token, .. }) if token.get() == 42));
    }
}
