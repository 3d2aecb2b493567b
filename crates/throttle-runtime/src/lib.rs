//! The async shell around the state machine of [`throttle_core`].
//!
//! The core decides; this crate adds a clock, randomness, the names of the semaphores, and the tasks that
//! wait for locks. Everything is done through a [`Handle`]: it has one method for each operation, may be
//! shared among tasks, and is cheap to clone.
//!
//! ```
//! use std::{collections::BTreeMap, time::Duration};
//! use throttle_runtime::{
//!     Admission, Count, Handle, Labels, Level, LockRequest, SemaphoreConfig, Settings,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), throttle_runtime::Error> {
//! let db = SemaphoreConfig { max: Count::ONE, level: Level(0) };
//! let throttle = Handle::start(Settings::default(), &BTreeMap::from([("db".to_owned(), db)]));
//!
//! let lease = Duration::from_secs(30);
//! let ann = throttle.new_peer(lease, Labels::default()).await?;
//! let bob = throttle.new_peer(lease, Labels::default()).await?;
//! throttle.acquire(ann, "db", LockRequest::now(Count::ONE)).await?;
//!
//! // Bob waits for at most a minute, and is granted the lock as soon as Ann releases it.
//! let minute = Some(Duration::from_secs(60));
//! let request = LockRequest { block_for: minute, ..LockRequest::now(Count::ONE) };
//! let waiting = tokio::spawn({ let throttle = throttle.clone(); async move {
//!     throttle.acquire(bob, "db", request).await
//! }});
//! throttle.release(ann, "db", None).await?;
//! assert!(matches!(waiting.await.unwrap()?, Admission::Granted { .. }));
//! # Ok(())
//! # }
//! ```
//!
//! An operation runs in the task that calls it, under one mutex that is held for microseconds and never
//! across an await. A single timer task ends leases at their deadlines. Every operation first removes the
//! peers whose deadline has come, so no answer depends on the timer being punctual.
//!
//! A service forgets everything at its end, unless it has a [`Store`]. Then no answer shows a change before it is
//! durable, and the next service continues with the same peers, locks and queues: see [`Builder`].
//!
//! Leases do not run during a *stall*: more than a second in which the process, the machine or the runtime
//! was suspended ([`Handle::stalls`]). No heartbeat could arrive during that time. A test that moves a paused
//! clock by more than a second must let the runtime run in between, as `tokio::time::sleep` does and
//! `advance` does not; otherwise the jump counts as a stall.

#![forbid(unsafe_code)]

// The tests below `src` share the store of those below `tests`.
#[cfg(test)]
extern crate self as throttle_runtime;

mod builder;
mod clock;
mod effects;
mod entropy;
mod error;
mod failure;
mod handle;
mod inspect;
mod journal;
mod names;
mod observer;
mod open_waits;
mod peer_log;
mod rate_limit;
mod reconfigure;
mod recovery;
mod save;
mod service;
mod stalls;
mod start;
mod state;
mod store;
mod timer;
mod wait;
mod world;

pub use throttle_core::{
    Admission, CancelCause, Count, Event, FencingToken, HeldRecord, Holder, Labels, Level,
    PeerCursor, PeerId, PendingRecord, Release, SemaphoreId, Sequence, Settings, Ticket, Time,
    Waiter,
};

pub use crate::{
    builder::Builder,
    clock::{Clock, token_floor_at},
    error::Error,
    failure::Failure,
    handle::{Handle, LockRequest, Restoration},
    inspect::{
        Applied, HeldLock, MAX_PLACE, Overview, Page, PeerStatus, PendingLock, SemaphorePages,
        SemaphoreStatus,
    },
    names::SemaphoreConfig,
    observer::Observer,
    open_waits::OpenWaits,
    rate_limit::RateLimit,
    reconfigure::Changes,
    recovery::Recovered,
    save::Saved,
    stalls::Stalls,
    store::{
        AbsentRecord, Batch, Meta, PeerChange, PeerRecord, Record, SemaphoreRecord, Store,
        StoreError, UnixTime,
    },
};
