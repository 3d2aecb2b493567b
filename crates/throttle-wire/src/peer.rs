//! Peers and their locks.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Seconds, duration, field};

/// Identifies a peer. An integer, never zero; those that the server draws fit in 53 bits.
pub type PeerId = u64;

/// Names and values that a peer carries for the people who look at who holds what.
pub type Labels = BTreeMap<String, String>;

/// Body of `POST /new_peer`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewPeer {
    /// How long the peer lives without a sign of life.
    #[serde(with = "duration")]
    pub expires_in: Duration,
    /// What the peer says about itself, such as its host and its job.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "field::labels"
    )]
    pub labels: Labels,
}

/// Body of `PUT /peers/{id}`, a heartbeat.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Heartbeat {
    /// How long the peer lives without another sign of life.
    #[serde(with = "duration")]
    pub expires_in: Duration,
}

/// Query of `PUT /peers/{id}/{semaphore}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LockRequest {
    /// Renews the lease first, if present.
    #[serde(with = "duration::option", default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Duration>,
    /// How long the answer may wait for the lock to be granted. Absent: it comes at once.
    #[serde(with = "duration::option", default, skip_serializing_if = "Option::is_none")]
    pub block_for: Option<Duration>,
    /// The number of the request among all of its peer. One that comes after a greater number is
    /// refused as `stale_request`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::sequence"
    )]
    pub sequence: Option<u64>,
}

/// Body of `PUT /peers/{id}/{semaphore}`.
///
/// Signed, so that a server can refuse a negative count by its value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LockCount(pub i64);

/// Query of `DELETE /peers/{id}/{semaphore}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Release {
    /// The sequence number of the request. One that arrives after a greater number of the same peer is
    /// refused as `stale_request`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::sequence"
    )]
    pub sequence: Option<u64>,
}

/// Query of `DELETE /peers/{id}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RemovePeer {
    /// The sequence number of the request. A restore with a lower number does not bring the peer back.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::sequence"
    )]
    pub sequence: Option<u64>,
}

/// Answer to `PUT /peers/{id}/{semaphore}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LockAnswer {
    /// Who asked.
    pub peer_id: PeerId,
    /// The semaphore asked for.
    pub semaphore: String,
    /// The count asked for.
    pub count: u64,
    /// Whether the lock is held. If not, it is pending.
    pub acquired: bool,
    /// The fencing token of a held lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<u64>,
}

/// Body of `POST /restore`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Restore {
    /// How long the peer lives without another sign of life.
    #[serde(with = "duration")]
    pub expires_in: Duration,
    /// The id that the peer had.
    #[serde(deserialize_with = "field::peer_id")]
    pub peer_id: PeerId,
    /// Semaphores with the counts that the peer holds.
    #[serde(deserialize_with = "field::acquired")]
    pub acquired: BTreeMap<String, i64>,
    /// What the peer says about itself.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "field::labels"
    )]
    pub labels: Labels,
    /// The number of the request among all of its peer. One that comes after a greater number, be it
    /// that of a removal, is refused as `stale_request`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::sequence"
    )]
    pub sequence: Option<u64>,
}

/// Answer to `GET /peers/{id}`, and an element of the answer to `GET /peers/`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PeerStatus {
    /// Identifies the peer.
    pub id: PeerId,
    /// The length of its lease.
    #[serde(with = "duration")]
    pub expires_in: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub expires_in_seconds: Seconds,
    /// What is left of the lease. While a request of the peer is waiting for its answer the lease
    /// does not run, and all of it is left.
    #[serde(with = "duration")]
    pub time_left: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub time_left_seconds: Seconds,
    /// What the peer says about itself.
    #[serde(default)]
    pub labels: Labels,
    /// The locks that it holds.
    pub held: Vec<HeldLock>,
    /// The lock that it waits for.
    pub pending: Option<PendingLock>,
}

/// A lock that a peer holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HeldLock {
    /// Name of the semaphore.
    pub semaphore: String,
    /// Its count.
    pub count: u64,
    /// The number that came with the grant.
    pub fencing_token: u64,
    /// For how long it has been held.
    #[serde(with = "duration")]
    pub held_for: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub held_for_seconds: Seconds,
}

/// A lock that a peer waits for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PendingLock {
    /// Name of the semaphore.
    pub semaphore: String,
    /// Its count.
    pub count: u64,
    /// For how long the peer has been waiting.
    #[serde(with = "duration")]
    pub waiting_for: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub waiting_for_seconds: Seconds,
    /// Whether the peer is passed over because its connection broke. It stands where it stood if it
    /// asks again in time.
    pub parked: bool,
    /// Where the peer stands in the queue, those that are passed over aside; 1 comes next. Only in the
    /// answer to `GET /peers/{id}`, and only for one of the first thousand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
}
