//! Semaphores, who holds them, and who waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Labels, PeerId, Seconds, duration};

/// Query of `GET /remainder`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Remainder {
    /// Name of the semaphore.
    pub semaphore: String,
}

/// An element of the answer to `GET /semaphores`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SemaphoreStatus {
    /// Its name.
    pub name: String,
    /// Its full count.
    pub max: u64,
    /// Its place in the lock hierarchy.
    pub level: i32,
    /// Sum of the counts of all locks held. May exceed `max` after restores and after `max` was lowered.
    pub held: u64,
    /// Sum of the counts of all locks pending.
    pub pending: u64,
    /// `max` minus `held`; negative if exceeded.
    pub remainder: i64,
    /// How many peers hold it.
    pub holders: u64,
    /// How many peers wait for it.
    pub waiters: u64,
    /// For how long the longest waiting peer has been waiting; zero if nobody waits.
    #[serde(with = "duration")]
    pub longest_pending: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub longest_pending_seconds: Seconds,
}

/// Answer to `GET /semaphores/{name}`: the numbers, everybody who holds a lock, and the queue.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SemaphoreOverview {
    /// The numbers.
    #[serde(flatten)]
    pub status: SemaphoreStatus,
    /// Who holds a lock, in the order of the grants.
    pub held_by: Vec<Holder>,
    /// Who waits, in the order of arrival, which is the order in which they will be served.
    pub queue: Vec<Waiter>,
}

/// A peer that holds a lock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Holder {
    /// Who.
    pub peer_id: PeerId,
    /// How much.
    pub count: u64,
    /// The number that came with the grant.
    pub fencing_token: u64,
    /// For how long.
    #[serde(with = "duration")]
    pub held_for: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub held_for_seconds: Seconds,
    /// What is left of the peer's lease.
    #[serde(with = "duration")]
    pub time_left: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub time_left_seconds: Seconds,
    /// What the peer says about itself.
    #[serde(default)]
    pub labels: Labels,
}

/// A peer that waits for a lock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Waiter {
    /// Who.
    pub peer_id: PeerId,
    /// How much.
    pub count: u64,
    /// For how long.
    #[serde(with = "duration")]
    pub waiting_for: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub waiting_for_seconds: Seconds,
    /// Whether it is passed over because its connection broke.
    pub parked: bool,
    /// What is left of the peer's lease.
    #[serde(with = "duration")]
    pub time_left: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub time_left_seconds: Seconds,
    /// What the peer says about itself.
    #[serde(default)]
    pub labels: Labels,
}
