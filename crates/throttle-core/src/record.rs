//! Records: what has to be kept of a peer so that the machine can be rebuilt from it.
//!
//! A record is a fact about the present, not a command. Deadlines are not part of it: a rebuilt machine gives
//! every peer its full lease. Neither is whether a waiter is attended or parked: nobody attends it then.
//!
//! The core names a semaphore by its [`SemaphoreId`] and an instant by its [`Time`]. Both mean nothing to the
//! next process, so an embedder converts them by [`PeerRecord::map`].

use alloc::vec::Vec;
use core::time::Duration;

use crate::{Count, FencingToken, Labels, PeerId, SemaphoreId, Sequence, Ticket, Time};

/// A peer with its locks. `S` says which semaphore, `T` since when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerRecord<S = SemaphoreId, T = Time> {
    /// Which peer.
    pub id: PeerId,
    /// The length of the lease.
    pub expires_in: Duration,
    /// What the peer says about itself.
    pub labels: Labels,
    /// The highest number of its requests so far; zero if it numbers none.
    pub sequence: Sequence,
    /// The locks it holds, in the order of the grants.
    pub held: Vec<HeldRecord<S, T>>,
    /// The lock it waits for.
    pub pending: Option<PendingRecord<S, T>>,
}

/// A lock that a peer holds.
#[expect(missing_docs, reason = "fields say what, how much and since when")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldRecord<S = SemaphoreId, T = Time> {
    pub semaphore: S,
    pub count: Count,
    pub token: FencingToken,
    pub since: T,
}

/// A lock that a peer waits for.
#[expect(missing_docs, reason = "fields say what, how much and since when")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PendingRecord<S = SemaphoreId, T = Time> {
    pub semaphore: S,
    pub count: Count,
    pub ticket: Ticket,
    pub since: T,
}

impl<S, T> PeerRecord<S, T> {
    /// The same peer, with each semaphore converted by `semaphore` and each instant by `time`.
    ///
    /// # Errors
    ///
    /// The first error of either.
    pub fn map<S2, T2, E>(
        self,
        mut semaphore: impl FnMut(S) -> Result<S2, E>,
        mut time: impl FnMut(T) -> T2,
    ) -> Result<PeerRecord<S2, T2>, E> {
        let Self { id, expires_in, labels, sequence, held, pending } = self;
        let held = held.into_iter().map(|HeldRecord { semaphore: of, count, token, since }| {
            Ok(HeldRecord { semaphore: semaphore(of)?, count, token, since: time(since) })
        });
        let held = held.collect::<Result<_, E>>()?;
        let pending = match pending {
            None => None,
            Some(PendingRecord { semaphore: of, count, ticket, since }) => {
                Some(PendingRecord { semaphore: semaphore(of)?, count, ticket, since: time(since) })
            }
        };
        Ok(PeerRecord { id, expires_in, labels, sequence, held, pending })
    }
}
