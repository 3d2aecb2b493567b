//! Operations that create and restore peers. A heartbeat, which keeps one alive, is in `lease`, and the end of a
//! peer in `removal`.

use alloc::{boxed::Box, collections::BTreeMap};
use core::time::Duration;

use super::Throttle;
use crate::{
    Count, Error, Event, Labels, PeerId, SemaphoreId, Sequence, Time,
    peers::{Peer, Slot},
    time::nanos,
};

/// The attributes that a peer is created with. A lease alone is the plain form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewPeer {
    /// The length of the lease.
    pub expires_in: Duration,
    /// What it says about itself.
    pub labels: Labels,
}

impl From<Duration> for NewPeer {
    fn from(expires_in: Duration) -> Self {
        Self { expires_in, labels: Labels::default() }
    }
}

/// A peer that comes back with the locks it holds. `S` identifies a semaphore.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restoration<S = SemaphoreId> {
    /// The id it had.
    pub peer: PeerId,
    /// The length of its lease from now on.
    pub expires_in: Duration,
    /// The locks it holds, all of them.
    pub locks: BTreeMap<S, Count>,
    /// What it says about itself.
    pub labels: Labels,
    /// The sequence number, if the client numbers its requests.
    pub sequence: Option<Sequence>,
}

impl Throttle {
    /// Creates a peer without locks. O(log n).
    ///
    /// # Errors
    ///
    /// - [`Error::PeerExists`] if the id is taken.
    /// - [`Error::TooManyPeers`], [`Error::TooManyLabelBytes`]: a limit of
    ///   [`Settings`](crate::Settings) is reached.
    pub fn new_peer(
        &mut self,
        now: Time,
        peer: PeerId,
        attributes: impl Into<NewPeer>,
    ) -> Result<(), Error> {
        self.advance(now);
        let NewPeer { expires_in, labels } = attributes.into();
        if self.peers.slot(peer).is_some() {
            return Err(Error::PeerExists);
        }
        self.check_room_for_a_peer(&labels)?;
        self.admit(peer, expires_in, labels);
        self.events.push_back(Event::PeerCreated { peer });
        Ok(())
    }

    /// Creates a peer under the id it had, with exactly these locks. They may exceed a maximum, because
    /// the peer already uses the resource. Each lock gets a new fencing token.
    ///
    /// If the peer exists, holds exactly these locks and waits for none, its lease is renewed.
    /// A restore without a sequence number continues with the one that is remembered of the absent peer.
    /// O(log n) for each lock.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownSemaphore`] if any of the semaphores is unknown, or [retired](Self::remove_semaphore)
    ///   unless the peer exists.
    /// - [`Error::StaleRequest`] if a request of the peer with a higher number came before, even if the
    ///   peer is [absent](Self::remove_peer) now.
    /// - [`Error::RestoreConflict`] if the peer exists with other locks, or waits.
    /// - [`Error::LockCountTooLarge`] if the sum held of a semaphore would exceed [`Count::MAX`].
    /// - [`Error::TooManyPeers`], [`Error::TooManyLabelBytes`]: a limit of
    ///   [`Settings`](crate::Settings) is reached.
    pub fn restore(&mut self, now: Time, restoration: Restoration) -> Result<(), Error> {
        self.advance(now);
        let Restoration { peer: id, expires_in, locks, labels, sequence } = restoration;
        for &semaphore in locks.keys() {
            self.semaphore(semaphore)?;
        }
        self.check_sequence(id, sequence)?;
        if let Some(slot) = self.peers.slot(id) {
            if !holds_exactly(self.peers.get(slot), &locks) {
                return Err(Error::RestoreConflict);
            }
            self.renew_with(slot, expires_in);
            let peer = self.peers.get_mut(slot);
            peer.sequence = sequence.unwrap_or(peer.sequence);
            return Ok(());
        }
        for (&semaphore, count) in &locks {
            if self.configured_semaphore(semaphore)?.held() + count.get() > Count::MAX.get() {
                return Err(Error::LockCountTooLarge);
            }
        }
        self.check_room_for_a_peer(&labels)?;
        let slot = self.admit(id, expires_in, labels);
        let latest = sequence.or_else(|| self.absent.latest(id, self.now));
        self.peers.get_mut(slot).sequence = latest.unwrap_or_default();
        self.events.push_back(Event::Restored { peer: id });
        for (semaphore, count) in locks {
            self.grant(slot, semaphore, count, None);
        }
        Ok(())
    }

    fn check_room_for_a_peer(&self, labels: &Labels) -> Result<(), Error> {
        let limit = self.settings.max_peers;
        if self.peers.len() >= limit as usize {
            return Err(Error::TooManyPeers { limit });
        }
        // A peer without labels is accepted even if a reload has lowered the limit below the present sum.
        let limit = self.settings.max_label_bytes;
        if !labels.is_empty() && self.label_bytes.saturating_add(labels.bytes()) > limit {
            return Err(Error::TooManyLabelBytes { limit });
        }
        Ok(())
    }

    /// Adds a peer without locks. The caller emits the event.
    fn admit(&mut self, id: PeerId, expires_in: Duration, labels: Labels) -> Slot {
        self.label_bytes += labels.bytes();
        let deadline = self.present + expires_in;
        let slot = self.peers.insert(Peer {
            id,
            expires_in: nanos(expires_in),
            deadline,
            sequence: Sequence::default(),
            held: smallvec::SmallVec::new(),
            pending: None,
            labels: (!labels.is_empty()).then(|| Box::new(labels)),
        });
        self.deadlines.insert(slot, deadline);
        slot
    }
}

fn holds_exactly(peer: &Peer, locks: &BTreeMap<SemaphoreId, Count>) -> bool {
    peer.pending.is_none()
        && peer.held.len() == locks.len()
        && peer.held.iter().all(|lock| locks.get(&lock.semaphore) == Some(&lock.count))
}
