//! The JSON and the query strings of Throttle's HTTP interface, for both ends.
//!
//! The server reads requests and writes answers with these types, and the client writes requests and
//! reads answers with them, so the two cannot disagree about the name or the form of a field. Durations
//! are text for people (`"5m"`, `"1m 30s"`, `"100ms"`), in answers also numbers of [`Seconds`]; errors
//! have a stable [`Code`].

#![forbid(unsafe_code)]

mod code;
mod duration;
mod field;
mod peer;
mod problem;
mod readiness;
mod reload;
mod seconds;
mod semaphore;

pub use crate::{
    code::Code,
    duration::{EXPECTED_DURATION, InvalidDuration, parse_duration},
    field::MAX_SEQUENCE,
    peer::{
        Heartbeat, HeldLock, Labels, LockAnswer, LockCount, LockRequest, NewPeer, PeerId,
        PeerStatus, PendingLock, Release, RemovePeer, Restore,
    },
    problem::Problem,
    readiness::Readiness,
    reload::Reloaded,
    seconds::Seconds,
    semaphore::{HeldGrant, Holder, Remainder, SemaphoreOverview, SemaphoreStatus, Waiter},
};

/// The media type of a [`Problem`] document (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
