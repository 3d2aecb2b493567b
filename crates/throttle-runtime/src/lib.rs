//! The async shell around the state machine of [`throttle_core`].
//!
//! The core decides; this crate gives it a clock, randomness, names for its semaphores, and somebody
//! to wake up. A [`Handle`] is all there is to hold: one method for each operation, safe to share
//! among tasks, cheap to clone.
//!
//! ```
//! use std::{collections::BTreeMap, time::Duration};
//! use throttle_runtime::{Admission, LockRequest, Count, Handle, Labels, Level, SemaphoreConfig, Settings};
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
//! // Bob waits for at most a minute, and gets the lock as soon as Ann gives it back.
//! let request = LockRequest { block_for: Some(Duration::from_secs(60)), ..LockRequest::now(Count::ONE) };
//! let waiting = tokio::spawn({ let throttle = throttle.clone(); async move {
//!     throttle.acquire(bob, "db", request).await
//! }});
//! throttle.release(ann, "db", None).await?;
//! assert!(matches!(waiting.await.unwrap()?, Admission::Granted { .. }));
//! # Ok(())
//! # }
//! ```
//!
//! An operation runs where it is called, under one short mutex that is never held across an await.
//! Leases end at their deadline by a single timer task; since every operation first removes who is
//! due, no answer depends on the punctuality of that task.
//!
//! Leases run while the service is attentive. If its process, its machine or its runtime stood still
//! for more than a second, nobody could send a sign of life meanwhile, and no lease is charged with
//! that time ([`Handle::stalls`]). So a test that moves a paused clock lets the runtime run in between
//! (`tokio::time::sleep` does so, `advance` does not), or the jump counts as a stall.

#![forbid(unsafe_code)]

mod clock;
mod effects;
mod entropy;
mod error;
mod failure;
mod handle;
mod inspect;
mod names;
mod observer;
mod open_waits;
mod peer_log;
mod rate_limit;
mod reconfigure;
mod service;
mod stalls;
mod start;
mod state;
mod timer;
mod wait;
mod world;

pub use throttle_core::{
    Admission, CancelCause, Count, Event, FencingToken, Labels, Level, PeerCursor, PeerId, Release,
    SemaphoreId, Sequence, Settings, Ticket, Time,
};

pub use crate::{
    clock::Clock,
    error::Error,
    failure::Failure,
    handle::{Handle, LockRequest, Restoration},
    inspect::{
        HeldLock, Holder, Overview, PLACES, Page, PeerStatus, PendingLock, SemaphoreStatus, Waiter,
    },
    names::SemaphoreConfig,
    observer::Observer,
    open_waits::OpenWaits,
    rate_limit::RateLimit,
    reconfigure::{Changes, ReconfigureError},
    stalls::Stalls,
};
