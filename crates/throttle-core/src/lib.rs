//! The state machine of Throttle: counting semaphores, and the peers that lock them under a lease.
//!
//! The nouns, one meaning each:
//!
//! - A **semaphore** is a named resource with a full count `max` and a [`Level`]. The core identifies it
//!   by a [`SemaphoreId`]; the embedder has the names.
//! - A **peer** is a client with a **lease**. Every lock belongs to a peer. When the lease ends, at the
//!   **deadline**, the peer is removed with all its locks.
//! - A **lock** is a peer's count of one semaphore. It is *held*, or *pending* in the semaphore's
//!   **queue**, which is strictly first in, first out. A [`Ticket`] orders the queue; a waiter's **place**
//!   is its position, where 1 comes next.
//! - A **fencing token** is the number that comes with a grant. Tokens of one semaphore only grow.
//! - A semaphore is **retired** if it is removed while it is held: its holders keep it, and nobody else gets it.
//! - A **record** is what has to be kept of a peer, so that a machine can be rebuilt by a [`Recovery`].
//!
//! The core reads no clock, draws no random number and does no I/O. Every operation takes the present as
//! a [`Time`] and returns its result at once. Effects on other peers are events, to be polled:
//!
//! ```
//! use core::time::Duration;
//! use throttle_core::{Admission, Count, Event, Level, PeerId, Settings, Throttle, Time};
//!
//! let mut throttle = Throttle::new(Settings::default());
//! let db = throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0));
//! let (ann, bob) = (PeerId::new(1).unwrap(), PeerId::new(2).unwrap());
//! let lease = Duration::from_secs(30);
//! throttle.new_peer(Time::ZERO, ann, lease)?;
//! throttle.new_peer(Time::ZERO, bob, lease)?;
//!
//! assert!(throttle.acquire(Time::ZERO, ann, (db, Count::ONE))?.is_granted());
//! assert!(!throttle.acquire(Time::ZERO, bob, (db, Count::ONE))?.is_granted());
//! while throttle.poll_event().is_some() {} // Not of interest here.
//!
//! // Ann sends no more heartbeats. At her deadline the lock passes on to Bob.
//! let due = throttle.poll_timeout().unwrap();
//! throttle.heartbeat(Time::ZERO + Duration::from_secs(20), bob, lease)?;
//! throttle.expire(due);
//! let mut events = core::iter::from_fn(|| throttle.poll_event());
//! assert!(events.any(|event| matches!(event, Event::Granted { peer, .. } if peer == bob)));
//! # Ok::<(), throttle_core::Error>(())
//! ```
//!
//! An embedder makes three calls besides the operations: [`Throttle::poll_event`] after each operation
//! until it returns `None`, [`Throttle::poll_timeout`] to learn how long to sleep, and
//! [`Throttle::expire`] after waking up. An embedder whose steps must be short calls
//! [`Throttle::catch_up`] instead of `expire`, and also before each operation.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod absent_peers;
mod command;
mod damage;
mod deadlines;
mod error;
mod event;
mod labels;
mod newtypes;
mod peers;
mod record;
mod semaphore;
mod settings;
mod status;
mod throttle;
mod time;

pub use crate::{
    command::{Command, Reply},
    damage::Damage,
    error::Error,
    event::{CancelCause, Event},
    labels::Labels,
    newtypes::{Count, FencingToken, Level, PeerId, SemaphoreId, Sequence, Ticket},
    record::{HeldRecord, PeerRecord, PendingRecord},
    settings::Settings,
    status::{HeldLock, Holder, PeerStatus, PendingLock, SemaphoreStatus, Waiter},
    throttle::{
        Admission, LockRequest, NewPeer, PeerCursor, Recovery, Release, Restoration, Throttle,
    },
    time::Time,
};
