//! Requests of one peer are served in the order in which the client made them, or not at all.
//!
//! A connection breaks, the client repeats what it asked on another one, is answered, goes on; and then
//! the network or a busy server delivers what had been sent first. A release that comes so late would
//! free a lock that was granted again since, an acquire would take one that nobody wants. So clients
//! number the requests of a peer, and what comes after a greater number is refused. The greatest number
//! is all that has to be remembered, also of a peer that is not there: it may have been removed, or be about
//! to be restored by a request that was sent before and comes later.

use super::Throttle;
use crate::{Error, PeerId, Sequence, Time};

impl Throttle {
    /// Lets a request of `peer` with this number pass, unless one with a greater number has passed.
    ///
    /// To be called right before what the request asks for. The same number may come again: that is a
    /// repetition, and harmless as long as nothing came after it. O(1).
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPeer`]. The number is remembered as by [`bar`](Self::bar): who was told so has
    ///   drawn conclusions from it, which a restore that was sent before must not upset.
    /// - [`Error::StaleRequest`], also for a peer that is not there.
    pub fn keep_order(&mut self, now: Time, peer: PeerId, sequence: Sequence) -> Result<(), Error> {
        self.advance(now);
        self.check_order(peer, Some(sequence))?;
        match self.slot(peer) {
            Ok(slot) => self.peers.get_mut(slot).sequence = sequence,
            Err(unknown) => {
                self.departed.miss(peer, sequence, self.now);
                return Err(unknown);
            }
        }
        Ok(())
    }

    /// Keeps a peer that is gone, or [about to be removed](Self::remove_peer), from being restored by a
    /// request with a lower number than this one.
    ///
    /// Numbers of peers that are gone are remembered for ten minutes, be they given here, or the greatest
    /// of those that the peer's requests had: of a million peers that lived, and of 65,536 that never did as
    /// far as is known. Older ones give way to newer ones. O(log n) in their number.
    pub fn bar(&mut self, now: Time, peer: PeerId, sequence: Sequence) {
        self.advance(now);
        match self.peers.slot(peer) {
            Some(slot) => {
                let peer = self.peers.get_mut(slot);
                peer.sequence = sequence.max(peer.sequence);
            }
            None => self.departed.miss(peer, sequence, self.now),
        }
    }

    /// Whether a request that may be numbered, of a peer that may be known, comes in time.
    pub(super) fn check_order(
        &self,
        peer: PeerId,
        sequence: Option<Sequence>,
    ) -> Result<(), Error> {
        let Some(sequence) = sequence else { return Ok(()) };
        let latest = match self.peers.slot(peer) {
            Some(slot) => self.peers.get(slot).sequence,
            None => self.departed.latest(peer, self.now).unwrap_or_default(),
        };
        if sequence < latest { Err(Error::StaleRequest { sequence, latest }) } else { Ok(()) }
    }
}
