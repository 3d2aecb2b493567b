//! What renews a lease: a heartbeat, and the end of a wait.

use core::{mem, time::Duration};

use super::Throttle;
use crate::{
    Error, Event, PeerId, Time,
    peers::{Slot, WaitState},
    time::nanos,
};

impl Throttle {
    /// Renews the lease of a peer, with the length `expires_in`. O(1) unless the deadline gets earlier.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPeer`]
    pub fn heartbeat(
        &mut self,
        now: Time,
        peer: PeerId,
        expires_in: Duration,
    ) -> Result<(), Error> {
        self.advance(now);
        let slot = self.slot(peer)?;
        self.renew_with(slot, expires_in);
        Ok(())
    }

    /// Renews a lease with this length, which is mostly the present one.
    pub(super) fn renew_with(&mut self, slot: Slot, expires_in: Duration) {
        let (length, deadline) = (nanos(expires_in), self.present + expires_in);
        let peer = self.peers.get_mut(slot);
        // The present moves forward only, so the deadline does not get earlier. A lease of zero length is an
        // exception: after a wait it ends at the next instant.
        if length == peer.expires_in && length > 0 {
            peer.deadline = deadline;
        } else {
            self.renew_with_another_length(slot, length, deadline);
        }
    }

    /// The peer's entry in the deadlines is at most as late as its old timeout. So the entry, two cache
    /// lines away, is read only if the timeout gets earlier.
    #[inline(never)]
    fn renew_with_another_length(&mut self, slot: Slot, length: u64, deadline: Time) {
        let peer = self.peers.get_mut(slot);
        let before = peer.timeout();
        let is_changed = mem::replace(&mut peer.expires_in, length) != length;
        peer.deadline = deadline;
        let (id, timeout) = (peer.id, peer.timeout());
        if is_changed {
            self.events.push_back(Event::LeaseChanged { peer: id });
        }
        if timeout < before {
            self.schedule(slot);
        }
    }

    /// Renews the lease of a peer whose pending lock was just granted or cancelled, if it was attended.
    ///
    /// Even a lease of zero length ends at the next instant at the earliest. So a chain of grants to
    /// waiters with such leases takes one instant for each, not a single step for all.
    pub(super) fn renew_after_wait(&mut self, slot: Slot, wait: WaitState) {
        if !matches!(wait, WaitState::Attended(_)) {
            return self.schedule(slot);
        }
        let (earliest, present) = (self.now.just_after(), self.present);
        let peer = self.peers.get_mut(slot);
        peer.deadline = (present + Duration::from_nanos(peer.expires_in)).max(earliest);
        self.schedule(slot);
    }

    /// Renews a lease with its present length.
    pub(super) fn renew(&mut self, slot: Slot) {
        let peer = self.peers.get_mut(slot);
        peer.deadline = self.present + Duration::from_nanos(peer.expires_in);
        self.schedule(slot);
    }

    /// Moves the peer's entry in the deadlines forward if its timeout became earlier.
    pub(super) fn schedule(&mut self, slot: Slot) {
        let timeout = self.peers.get(slot).timeout();
        // A peer that is about to be evicted has no entry.
        if self.deadlines.at(slot).is_some_and(|entry| timeout < entry) {
            self.deadlines.set(slot, timeout);
        }
    }
}
