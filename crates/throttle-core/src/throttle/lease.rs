//! Peers come, stay alive, go, and come back.

use core::time::Duration;

use super::Throttle;
use crate::{
    Error, PeerId, Time,
    peers::{Slot, WaitState},
    time::nanos,
};

impl Throttle {
    /// Sets the lease of a peer to `expires_in` and lets it begin anew. O(1) unless it gets shorter.
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

    /// Sets the length of a lease and lets it begin anew.
    ///
    /// The deadlines have an entry for the peer that is not later than its timeout was. It need not be
    /// looked at, two cache lines away, unless the timeout comes nearer.
    pub(super) fn renew_with(&mut self, slot: Slot, expires_in: Duration) {
        let peer = self.peers.get_mut(slot);
        let before = peer.timeout();
        peer.expires_in = nanos(expires_in);
        peer.deadline = self.present + expires_in;
        if peer.timeout() < before {
            self.schedule(slot);
        }
    }

    /// After a wait has got its answer: if somebody listened, the lease counts anew from now.
    ///
    /// It does not end before the next instant. So at one instant nobody's turn follows from the end of a
    /// lease that itself began then, and a queue of waiters with leases of no time is no single step.
    pub(super) fn renew_after_wait(&mut self, slot: Slot, wait: WaitState) {
        if !matches!(wait, WaitState::Attended(_)) {
            return self.schedule(slot);
        }
        let (earliest, present) = (self.now.just_after(), self.present);
        let peer = self.peers.get_mut(slot);
        peer.deadline = (present + Duration::from_nanos(peer.expires_in)).max(earliest);
        self.schedule(slot);
    }

    /// Lets the lease of a peer begin anew.
    pub(super) fn renew(&mut self, slot: Slot) {
        let peer = self.peers.get_mut(slot);
        peer.deadline = self.present + Duration::from_nanos(peer.expires_in);
        self.schedule(slot);
    }

    /// Sees to it that the timeout of a peer is not missed, after it may have come nearer.
    pub(super) fn schedule(&mut self, slot: Slot) {
        let timeout = self.peers.get(slot).timeout();
        // Who is about to leave has no entry any more.
        if self.deadlines.at(slot).is_some_and(|entry| timeout < entry) {
            self.deadlines.set(slot, timeout);
        }
    }
}
