//! The state machine of Throttle: counting semaphores, and the peers that lock them under a lease.
//!
//! The nouns, one meaning each:
//!
//! - A **semaphore** is a named resource with a full count `max` and a [`Level`]. The core knows it by
//!   a [`SemaphoreId`]; names belong to whoever embeds it.
//! - A **peer** is a client session with a lease. Every lock belongs to a peer, and a peer whose
//!   deadline has come is gone with all of them.
//! - A **lock** is a peer's count of one semaphore. It is *held*, or *pending* in the semaphore's
//!   queue, which is strictly first in, first out.
//! - A **fencing token** is the number that came with a grant. Tokens of one semaphore only grow.
//!
//! The core reads no clock, draws no random number and does no I/O. Every operation takes the
//! present as a [`Time`], answers at once, and leaves news for others to be polled:
//!
//! ```
//! use core::time::Duration;
//! use throttle_core::{Admission, Count, Event, Level, PeerId, Settings, Throttle, Time};
//!
//! let mut throttle = Throttle::new(Settings::default());
//! let db = throttle.add_semaphore(Time::ZERO, Count::ONE, Level(0));
//! let (ann, bob) = (PeerId::new(1).unwrap(), PeerId::new(2).unwrap());
//! let lease = Duration::from_secs(30);
//! throttle.new_peer(Time::ZERO, ann, lease, None)?;
//! throttle.new_peer(Time::ZERO, bob, lease, None)?;
//!
//! assert!(throttle.acquire(Time::ZERO, ann, (db, Count::ONE))?.is_granted());
//! assert!(!throttle.acquire(Time::ZERO, bob, (db, Count::ONE))?.is_granted());
//! while throttle.poll_event().is_some() {} // Old news.
//!
//! // Nobody hears from Ann again. At her deadline it is Bob's turn.
//! let due = throttle.poll_timeout().unwrap();
//! throttle.heartbeat(Time::ZERO + Duration::from_secs(20), bob, lease)?;
//! throttle.expire(due);
//! let mut news = core::iter::from_fn(|| throttle.poll_event());
//! assert!(news.any(|event| matches!(event, Event::Granted { peer, .. } if peer == bob)));
//! # Ok::<(), throttle_core::Error>(())
//! ```
//!
//! An embedder drives it with three calls besides the operations: [`Throttle::poll_event`] after
//! each of them until there is no more, [`Throttle::poll_timeout`] to know until when it may sleep,
//! and [`Throttle::expire`] when it wakes. One that must not be busy for long uses
//! [`Throttle::catch_up`] in its place, before each operation as well.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod absent_peers;
mod command;
mod deadlines;
mod error;
mod event;
mod labels;
mod peers;
mod quantity;
mod semaphore;
mod throttle;
mod time;

pub use crate::{
    command::{Command, Reply},
    error::Error,
    event::{CancelCause, Event},
    labels::Labels,
    quantity::{Count, FencingToken, Level, PeerId, SemaphoreId, Sequence, Ticket},
    throttle::{
        Admission, HeldLock, LockRequest, PeerCursor, PeerStatus, PeerSummary, PendingLock,
        Release, Restoration, SemaphoreStatus, Settings, Throttle,
    },
    time::Time,
};
