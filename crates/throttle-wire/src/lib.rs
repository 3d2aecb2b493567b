//! The JSON of Throttle's HTTP interface, once, for both ends.
//!
//! Requests and answers as they travel: names of fields, human-readable durations (`"5m"`,
//! `"1m 30s"`, `"100ms"`), in answers also as [`Seconds`], stable error codes. Both the routes and the client are built on these
//! types, so they cannot disagree. Nothing here has behaviour beyond its own form.

#![forbid(unsafe_code)]

mod code;
mod duration;
mod field;
mod peer;
mod problem;
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
    reload::Reloaded,
    seconds::Seconds,
    semaphore::{Holder, Remainder, SemaphoreOverview, SemaphoreStatus, Waiter},
};

/// The media type of an error as a [`Problem`] document (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
