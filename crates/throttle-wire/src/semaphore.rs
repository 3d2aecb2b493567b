//! Semaphores with their holders and waiters.

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
    /// Name of the semaphore.
    pub name: String,
    /// Its maximum: the sum of the counts that can be held at one time.
    pub max: u64,
    /// Its level in the lock hierarchy.
    pub level: i32,
    /// Sum of the counts of all held locks. Restores and a lowered `max` can make it exceed `max`.
    pub held: u64,
    /// Sum of the counts of all pending locks.
    pub pending: u64,
    /// `max` minus `held`; negative if `held` exceeds `max`.
    pub remainder: i64,
    /// The number of peers that hold a lock.
    pub holders: u64,
    /// The number of peers that wait for a lock.
    pub waiters: u64,
    /// How long the longest waiting peer has been waiting; zero if no peer waits.
    #[serde(with = "duration")]
    pub longest_pending: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub longest_pending_seconds: Seconds,
    /// Whether the semaphore is no longer configured. It exists until its last lock is given up, and is granted
    /// to nobody meanwhile. Written only if it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retired: bool,
    /// The level that it is configured with, if that applies only when nobody holds or awaits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_level: Option<i32>,
}

/// Answer to `GET /semaphores/{name}`: the numbers, the holders and the queue.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SemaphoreOverview {
    /// The numbers.
    #[serde(flatten)]
    pub status: SemaphoreStatus,
    /// The holders, in the order of the grants.
    pub held_by: Vec<Holder>,
    /// The waiters, in the order of arrival, in which they are served.
    pub queue: Vec<Waiter>,
}

/// A peer that holds a lock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Holder {
    /// Id of the peer.
    pub peer_id: PeerId,
    /// Count of the lock.
    pub count: u64,
    /// The fencing token of the grant.
    pub fencing_token: u64,
    /// Time since the grant.
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
    /// The labels of the peer.
    #[serde(default)]
    pub labels: Labels,
}

/// Answer to `GET /semaphores/{name}/fencing/{token}`: the lock that was granted under this fencing token, and
/// is held at this moment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HeldGrant {
    /// Name of the semaphore.
    pub semaphore: String,
    /// The holder.
    #[serde(flatten)]
    pub holder: Holder,
}

/// A peer that waits for a lock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Waiter {
    /// Id of the peer.
    pub peer_id: PeerId,
    /// Count of the lock.
    pub count: u64,
    /// Time since the first request for the lock.
    #[serde(with = "duration")]
    pub waiting_for: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub waiting_for_seconds: Seconds,
    /// Whether the queue passes the peer over because its connection broke.
    pub parked: bool,
    /// What is left of the peer's lease.
    #[serde(with = "duration")]
    pub time_left: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub time_left_seconds: Seconds,
    /// The labels of the peer.
    #[serde(default)]
    pub labels: Labels,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
