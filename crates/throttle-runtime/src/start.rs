//! The start of a service.

use std::sync::Arc;

use crate::{
    builder::Builder, handle::Handle, reconfigure::install_first, service::Service,
    store::StoreError, timer, world::World,
};

impl Handle {
    pub(crate) fn start_in(world: World, builder: Builder<'_>) -> Result<Self, StoreError> {
        let Builder { settings, semaphores, observer, grace_period: _, recover_from, store } =
            builder;
        if store.is_some() || recover_from.is_some() {
            return Err(StoreError::new("this build cannot recover a state yet"));
        }
        let service = Arc::new(Service::new(world, settings, observer));
        service.with_state(|state, now, _| install_first(state, now, semaphores));
        tokio::spawn(timer::run(Arc::downgrade(&service), Arc::clone(&service.rearm)));
        Ok(Self { service })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use throttle_core::{Admission, Count, Labels, Level, Settings};

    use super::*;
    use crate::{
        clock::Clock,
        entropy::Entropy,
        handle::{LockRequest, Restoration},
        names::SemaphoreConfig,
    };

    /// A service with the semaphore `A` of one, which draws known ids.
    fn start(seed: u64, token_floor: u64) -> Handle {
        let entropy = Entropy::from_seed(seed);
        let world = World { clock: Clock::start(), entropy, token_floor };
        let semaphore = SemaphoreConfig { max: Count::ONE, level: Level(0) };
        let semaphores = BTreeMap::from([("A".to_owned(), semaphore)]);
        Handle::start_in(world, Handle::builder(Settings::default(), &semaphores)).unwrap()
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
        assert_eq!(handle.peer_count().await, Ok(2));
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
