//! Open requests, which wait until their lock is granted, and what happens when their connection breaks.
//!
//! A wait is identified by its peer and its ticket. A call about a wait that is already over changes
//! nothing: the lock was granted or cancelled in the meantime.

use super::{Admission, Throttle};
use crate::{
    Count, Event, PeerId, Ticket, Time,
    peers::{Pending, Slot, WaitState},
};

/// Which of a peer's open requests was closed.
enum Closed {
    /// The last one. No request is open any more.
    Last(Slot),
    /// Another one is still open.
    OneOfSeveral,
}

impl Throttle {
    /// Ends an open request that is answered while its lock is still pending.
    ///
    /// The lock stays pending. If it was the last open request of the peer, the lease is renewed.
    /// Returns the pending count, which is lower than the request asked for if another request of the
    /// peer has shrunk it. `None` if the wait was already over; an event has reported how it ended.
    /// O(log n).
    pub fn end_wait(&mut self, now: Time, peer: PeerId, ticket: Ticket) -> Option<Count> {
        self.advance(now);
        let closed = self.close_request(peer, ticket)?;
        if let Closed::Last(slot) = closed {
            self.renew(slot);
        }
        let pending = self.peers.get(self.peers.slot(peer)?).pending;
        pending.map(|pending| pending.count)
    }

    /// Ends an open request whose connection broke.
    ///
    /// If it was the last open request of the peer, the lease is renewed and the waiter is *parked*: it
    /// keeps its ticket, but the queue passes over it. Unless the peer asks again within
    /// [`Settings::abandoned_after`](crate::Settings::abandoned_after), the pending lock is cancelled.
    /// O(log n), and O(log n) for each grant that follows.
    #[expect(clippy::missing_panics_doc, reason = "close_request returns waiting peers only")]
    pub fn park(&mut self, now: Time, peer: PeerId, ticket: Ticket) {
        self.advance(now);
        let Some(Closed::Last(slot)) = self.close_request(peer, ticket) else {
            return;
        };
        let until = self.present + self.settings.abandoned_after;
        let pending =
            self.peers.get_mut(slot).pending.as_mut().expect("a closed request was pending");
        pending.wait = WaitState::Parked(until);
        let semaphore = pending.semaphore;
        self.semaphore_mut(semaphore).park(ticket);
        self.events.push_back(Event::Parked { peer, semaphore });
        self.renew(slot);
        self.serve(semaphore);
    }

    /// Counts an open request of a waiting peer as closed. `None` if there was none.
    fn close_request(&mut self, peer: PeerId, ticket: Ticket) -> Option<Closed> {
        let slot = self.peers.slot(peer)?;
        let pending = self.peers.get_mut(slot).pending.as_mut()?;
        match &mut pending.wait {
            WaitState::Attended(open) if pending.ticket == ticket && *open > 1 => {
                *open -= 1;
                Some(Closed::OneOfSeveral)
            }
            wait @ WaitState::Attended(_) if pending.ticket == ticket => {
                *wait = WaitState::Unattended;
                Some(Closed::Last(slot))
            }
            WaitState::Attended(_) | WaitState::Unattended | WaitState::Parked(_) => None,
        }
    }

    /// Counts an attended request as open if its lock is pending; otherwise renews the lease.
    pub(super) fn attend(&mut self, slot: Slot, admission: Admission) {
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

    /// Moves a parked waiter back to its place in the queue. Does nothing to other waiters.
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
