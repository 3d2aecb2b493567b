//! Peers and their locks.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Seconds, duration, field};

/// Identifies a peer. Never zero. Ids drawn by the server fit in 53 bits.
pub type PeerId = u64;

/// Names and values that describe a peer to people.
pub type Labels = BTreeMap<String, String>;

/// Body of `POST /new_peer`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewPeer {
    /// The length of the lease: how long the peer lives without a heartbeat.
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

/// Body of `PUT /peers/{id}`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Heartbeat {
    /// The length of the lease: how long the peer lives without another heartbeat.
    #[serde(with = "duration")]
    pub expires_in: Duration,
}

/// Query of `PUT /peers/{id}/{semaphore}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LockRequest {
    /// Sets the length of the lease and renews it before the lock is requested.
    #[serde(with = "duration::option", default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Duration>,
    /// How long the server may wait for the grant before it answers. Absent: not at all.
    #[serde(with = "duration::option", default, skip_serializing_if = "Option::is_none")]
    pub block_for: Option<Duration>,
    /// The sequence number. A request that arrives after one of the same peer with a greater number is
    /// refused as `stale_request`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::sequence"
    )]
    pub sequence: Option<u64>,
}

/// Body of `PUT /peers/{id}/{semaphore}`: the count. Signed, so that a refusal can quote a negative one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LockCount(pub i64);

/// Query of `DELETE /peers/{id}/{semaphore}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Release {
    /// The sequence number. A request that arrives after one of the same peer with a greater number is
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
    /// The sequence number. A restore with a lower number does not bring the peer back.
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
    /// The peer that requests the lock.
    pub peer_id: PeerId,
    /// Name of the semaphore.
    pub semaphore: String,
    /// Count of the lock. Another request of the peer may have lowered it meanwhile.
    pub count: u64,
    /// Whether the lock is held; if not, it is pending.
    pub acquired: bool,
    /// The fencing token of a held lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<u64>,
}

/// Body of `POST /restore`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Restore {
    /// The length of the lease: how long the peer lives without another heartbeat.
    #[serde(with = "duration")]
    pub expires_in: Duration,
    /// The id of the peer.
    #[serde(deserialize_with = "field::peer_id")]
    pub peer_id: PeerId,
    /// The counts that the peer holds, by the name of the semaphore.
    #[serde(deserialize_with = "field::acquired")]
    pub acquired: BTreeMap<String, i64>,
    /// The labels of the peer.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "field::labels"
    )]
    pub labels: Labels,
    /// The sequence number. A restore that arrives after a request of the same peer with a greater
    /// number, its removal included, is refused as `stale_request`.
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
    /// What is left of the lease. The lease does not run while a request of the peer waits for its
    /// answer; all of it is left then.
    #[serde(with = "duration")]
    pub time_left: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub time_left_seconds: Seconds,
    /// The labels of the peer.
    #[serde(default)]
    pub labels: Labels,
    /// The locks that the peer holds, in the order of the grants.
    pub held: Vec<HeldLock>,
    /// The lock that the peer waits for.
    pub pending: Option<PendingLock>,
}

/// A lock that a peer holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HeldLock {
    /// Name of the semaphore.
    pub semaphore: String,
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
}

/// A lock that a peer waits for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PendingLock {
    /// Name of the semaphore.
    pub semaphore: String,
    /// Count of the lock.
    pub count: u64,
    /// Time since the first request for the lock.
    #[serde(with = "duration")]
    pub waiting_for: Duration,
    /// The same in seconds.
    #[serde(default)]
    pub waiting_for_seconds: Seconds,
    /// Whether the queue passes the peer over because its connection broke. It keeps its place if it
    /// requests the lock again in time.
    pub parked: bool,
    /// The place in the queue, parked peers not counted; 1 comes next. Present only in the answer to
    /// `GET /peers/{id}`, and only for the first thousand places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
}
