//! Recovery: a service that continues with the state of an earlier one.

use std::time::Duration;

use crate::{handle::Handle, store::UnixTime};

/// What a service has recovered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recovered {
    /// How many peers.
    pub peers: u64,
    /// How many locks they hold.
    pub locks: u64,
    /// How many of them wait for a lock.
    pub waiters: u64,
    /// Semaphores that are no longer configured, but are held. Nobody is granted them any more.
    pub retired: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// Since when the state was kept: over how many services does not matter.
    pub made_at: UnixTime,
}

impl Handle {
    /// What the service recovered at its start; `None` if it began empty.
    pub fn recovery(&self) -> Option<&Recovered> {
        None
    }

    /// How long the service, and those whose state it continues, has known every peer: a peer that was created in
    /// this time and is unknown now has expired or was removed. It is the [uptime](Self::uptime) unless a state
    /// was recovered.
    pub fn remembers_for(&self) -> Duration {
        self.uptime()
    }

    /// How much is left of the [grace period](crate::Builder::grace_period), in which nothing new is granted;
    /// `None` if it is over, or there was none.
    pub fn grace_left(&self) -> Option<Duration> {
        None
    }

    /// Whether the service has a store, so that its state survives the end of its process at any moment.
    pub fn is_durable(&self) -> bool {
        false
    }
}
