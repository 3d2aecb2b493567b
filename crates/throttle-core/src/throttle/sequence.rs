//! Sequence numbers: a request that arrives after a later one of its peer is refused.
//!
//! A connection breaks, and the client repeats its request on another one, gets the answer and sends the
//! next request. Then the network or a busy server delivers the first copy. A release that late would
//! free a lock that was granted again in the meantime; an acquire would take a lock that nobody wants.
//! So clients number the requests of a peer, and a request below the highest number so far is stale.
//! Only the highest number has to be remembered. It is remembered for absent peers too: a restore that
//! was sent earlier may still be on its way.

use super::Throttle;
use crate::{Error, PeerId, Sequence, peers::Slot};

impl Throttle {
    /// Finds the peer, and accepts a request without a number, or with one not below the peer's highest.
    ///
    /// An equal number is a repetition, and harmless as long as nothing came after it. O(1); for an
    /// absent peer O(log n) in the number of remembered peers.
    ///
    /// # Errors
    ///
    /// - [`Error::StaleRequest`], also for an absent peer.
    /// - [`Error::UnknownPeer`]. The number is remembered: the client may now rely on the peer being gone,
    ///   so an older restore must fail.
    pub(super) fn accept_sequence(
        &mut self,
        peer: PeerId,
        sequence: Option<Sequence>,
    ) -> Result<Slot, Error> {
        let Some(sequence) = sequence else { return self.slot(peer) };
        self.check_sequence(peer, Some(sequence))?;
        match self.slot(peer) {
            Ok(slot) => {
                self.peers.get_mut(slot).sequence = sequence;
                Ok(slot)
            }
            Err(unknown) => {
                self.absent.record_unknown(peer, sequence, self.now);
                Err(unknown)
            }
        }
    }

    /// Checks that a request is not stale, without accepting it. The peer may be absent.
    pub(super) fn check_sequence(
        &self,
        peer: PeerId,
        sequence: Option<Sequence>,
    ) -> Result<(), Error> {
        let Some(sequence) = sequence else { return Ok(()) };
        let latest = match self.peers.slot(peer) {
            Some(slot) => self.peers.get(slot).sequence,
            None => self.absent.latest(peer, self.now).unwrap_or_default(),
        };
        if sequence < latest { Err(Error::StaleRequest { sequence, latest }) } else { Ok(()) }
    }
}
