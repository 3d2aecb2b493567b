//! Reads of what has to be kept so that the machine can be [recovered](crate::Recovery).
//!
//! What has to be kept of a peer changes by events about it, and by each sequence number that is accepted,
//! which has no event: the embedder knows which request carried it.

use alloc::vec::Vec;
use core::time::Duration;

use super::{PeerCursor, Throttle};
use crate::{
    Error, FencingToken, HeldRecord, PeerId, PeerRecord, PendingRecord, SemaphoreId, Sequence,
    Time,
    peers::{Held, Peer, Pending},
};

impl Throttle {
    /// What has to be kept of a peer; `None` if there is none with this id. O(1) for each lock.
    pub fn peer_record(&self, peer: PeerId) -> Option<PeerRecord> {
        Some(record(self.peers.get(self.peers.slot(peer)?)))
    }

    /// The records of all peers after the cursor, in an arbitrary order that stays the same.
    ///
    /// A caller that reads them in several steps sees each peer that exists throughout exactly once.
    pub fn records(
        &self,
        after: Option<PeerCursor>,
    ) -> impl Iterator<Item = (PeerCursor, PeerRecord)> {
        self.peers_after(after).map(|(cursor, peer)| (cursor, record(peer)))
    }

    /// The lowest sequence number that may restore a peer that was removed or expired, and since when it is
    /// remembered. `None` if none is remembered. O(log n).
    ///
    /// A peer that was created since under the same id does not change it.
    pub fn absent_peer(&self, peer: PeerId) -> Option<(Sequence, Time)> {
        self.absent.remembered(peer, self.now)
    }

    /// All [absent peers](Self::absent_peer), each once, in the order of their ids.
    pub fn absent_peers(&self) -> impl Iterator<Item = (PeerId, Sequence, Time)> {
        self.absent.iter(self.now)
    }

    /// The greatest token that was issued for a semaphore, or the one before the first. O(1).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSemaphore`]
    pub fn last_token(&self, id: SemaphoreId) -> Result<FencingToken, Error> {
        Ok(self.semaphore(id)?.last_token())
    }

    /// Semaphores that are added from now on issue tokens greater than this one. It is at least the greatest
    /// token of each semaphore that was removed.
    pub fn token_floor(&self) -> FencingToken {
        self.last_token
    }

    /// Switches on or off that [`poll_forgotten`](Self::poll_forgotten) returns absent peers that are
    /// forgotten. While it is on, an embedder has to poll.
    pub fn report_forgotten(&mut self, report: bool) {
        self.absent.report_forgotten(report);
    }

    /// The next peer whose sequence number was forgotten while it was absent, because of its age or because
    /// there were too many. Call it after every operation until it returns `None`, if the
    /// [report](Self::report_forgotten) is on.
    ///
    /// It may be remembered again already: [`absent_peer`](Self::absent_peer) says so.
    #[must_use]
    pub fn poll_forgotten(&mut self) -> Option<PeerId> {
        self.absent.poll_forgotten()
    }
}

fn record(peer: &Peer) -> PeerRecord {
    PeerRecord {
        id: peer.id,
        expires_in: Duration::from_nanos(peer.expires_in),
        labels: peer.labels.as_deref().cloned().unwrap_or_default(),
        sequence: peer.sequence,
        held: peer.held.iter().map(held_record).collect::<Vec<_>>(),
        pending: peer.pending.as_ref().map(pending_record),
    }
}

fn held_record(lock: &Held) -> HeldRecord {
    let Held { semaphore, count, token, since } = *lock;
    HeldRecord { semaphore, count, token, since }
}

fn pending_record(lock: &Pending) -> PendingRecord {
    let Pending { semaphore, count, ticket, since, wait: _ } = *lock;
    PendingRecord { semaphore, count, ticket, since }
}
