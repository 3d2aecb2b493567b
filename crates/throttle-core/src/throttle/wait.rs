//! Requests that stay open until their lock is granted, and connections that break meanwhile.
//!
//! A wait is named by its peer and its ticket. Word of a wait that is over already, for the lock was
//! granted or cancelled in the meantime, comes too late and changes nothing.

use super::{Admission, Throttle};
use crate::{
    Count, Event, PeerId, Ticket, Time,
    peers::{Pending, Slot, WaitState},
};

/// Which request of a peer was closed.
enum Closed {
    /// The last one; nobody listens any more.
    Last(Slot),
    /// Others are still open.
    OneOfMany,
}

impl Throttle {
    /// An open request is answered in good order while its lock is still pending.
    ///
    /// The lock stays pending. If it was the last open request of the peer, the lease begins anew.
    /// Returns the count that is still pending, which is less than the request asked for if another one
    /// of the peer has shrunk it; or `None` if the wait was not open any more, and an event has told how
    /// it ended. O(log n).
    pub fn end_wait(&mut self, now: Time, peer: PeerId, ticket: Ticket) -> Option<Count> {
        self.advance(now);
        let closed = self.close_request(peer, ticket)?;
        if let Closed::Last(slot) = closed {
            self.renew(slot);
        }
        let pending = self.peers.get(self.peers.slot(peer)?).pending;
        pending.map(|pending| pending.count)
    }

    /// The connection of an open request broke.
    ///
    /// If it was the last open request of the peer, the lease begins anew and the waiter is *parked*:
    /// it keeps its ticket, but is granted nothing and holds nobody up. Unless the peer asks again
    /// within [`Settings::abandoned_after`](crate::Settings::abandoned_after), the pending lock is
    /// cancelled. O(log n), and O(log n) for each grant that follows.
    #[expect(clippy::missing_panics_doc, reason = "close_request returns waiting peers only")]
    pub fn park(&mut self, now: Time, peer: PeerId, ticket: Ticket) {
        self.advance(now);
        let Some(Closed::Last(slot)) = self.close_request(peer, ticket) else {
            return;
        };
        let until = self.present + self.settings.abandoned_after;
        let pending = self.peers.get_mut(slot).pending.as_mut().expect("it was just found");
        pending.wait = WaitState::Parked(until);
        let semaphore = pending.semaphore;
        self.semaphore_mut(semaphore).park(ticket);
        self.events.push_back(Event::Parked { peer, semaphore });
        self.renew(slot);
        self.serve(semaphore);
    }

    /// One of the open requests of a waiting peer is open no more. `None` if there was none.
    fn close_request(&mut self, peer: PeerId, ticket: Ticket) -> Option<Closed> {
        let slot = self.peers.slot(peer)?;
        let pending = self.peers.get_mut(slot).pending.as_mut()?;
        match &mut pending.wait {
            WaitState::Attended(open) if pending.ticket == ticket && *open > 1 => {
                *open -= 1;
                Some(Closed::OneOfMany)
            }
            wait @ WaitState::Attended(_) if pending.ticket == ticket => {
                *wait = WaitState::Unattended;
                Some(Closed::Last(slot))
            }
            WaitState::Attended(_) | WaitState::Unattended | WaitState::Parked(_) => None,
        }
    }

    /// A request that is listened to has been admitted.
    pub(super) fn listen(&mut self, slot: Slot, admission: Admission) {
        match self.peers.get_mut(slot).pending.as_mut() {
            Some(pending) if !admission.is_granted() => {
                pending.wait = match pending.wait {
                    WaitState::Attended(open) => WaitState::Attended(open.saturating_add(1)),
                    WaitState::Unattended | WaitState::Parked(_) => WaitState::Attended(1),
                };
            }
            _ => self.renew(slot),
        }
    }

    /// Puts a parked waiter back to where it stood. Other waiters stay as they are.
    pub(super) fn resume(&mut self, slot: Slot) {
        let peer = self.peers.get_mut(slot);
        let id = peer.id;
        if let Some(Pending { semaphore, ticket, wait: wait @ WaitState::Parked(_), .. }) =
            &mut peer.pending
        {
            *wait = WaitState::Unattended;
            let (semaphore, ticket) = (*semaphore, *ticket);
            self.semaphore_mut(semaphore).resume(ticket);
            self.events.push_back(Event::Resumed { peer: id, semaphore });
        }
    }
}
