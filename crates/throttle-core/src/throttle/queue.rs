//! The queue of a semaphore: how waiters join and leave, and are granted their locks. Which waiter is next, and
//! whether it fits, is decided in [`Semaphore`].

use core::time::Duration;

use super::Throttle;
use crate::{
    CancelCause, Count, Event, FencingToken, PeerId, SemaphoreId, Ticket,
    peers::{Held, Pending, Slot, WaitState},
    semaphore::{Semaphore, WaiterEntry},
};

impl Throttle {
    /// Adds a peer without a pending lock to the end of the queue.
    pub(super) fn enqueue(&mut self, slot: Slot, semaphore: SemaphoreId, count: Count) -> Ticket {
        let ticket = Ticket(self.last_ticket.0 + 1);
        self.last_ticket = ticket;
        self.semaphore_mut(semaphore).enqueue(ticket, WaiterEntry { slot, count });
        let since = self.now;
        let peer = self.peers.get_mut(slot);
        peer.pending =
            Some(Pending { semaphore, count, ticket, since, wait: WaitState::Unattended });
        self.events.push_back(Event::Queued { peer: peer.id, semaphore, count });
        ticket
    }

    /// Cancels the pending lock of a peer, which must have one. Does not serve the queue.
    pub(super) fn cancel(&mut self, slot: Slot, cause: CancelCause) {
        let peer = self.peers.get_mut(slot);
        let pending = peer.pending.take().expect("only pending locks are cancelled");
        let id = peer.id;
        self.semaphore_mut(pending.semaphore).dequeue(pending.ticket);
        self.emit_cancelled(id, pending, cause);
        self.renew_after_wait(slot, pending.wait);
    }

    pub(super) fn emit_cancelled(&mut self, peer: PeerId, pending: Pending, cause: CancelCause) {
        self.events.push_back(Event::Cancelled {
            peer,
            semaphore: pending.semaphore,
            count: pending.count,
            waited: self.now - pending.since,
            cause,
        });
    }

    /// Grants the head of the queue its lock, and the next one, as long as the head fits. Returns the
    /// number of grants.
    pub(super) fn serve(&mut self, id: SemaphoreId) -> usize {
        self.serve_at_most(id, usize::MAX)
    }

    /// Like [`serve`](Self::serve), but stops after this number of grants.
    #[inline]
    pub(super) fn serve_at_most(&mut self, id: SemaphoreId, at_most: usize) -> usize {
        let mut grants = 0;
        while grants < at_most
            && let Some(WaiterEntry { slot, .. }) = self.semaphore_mut(id).pop_next()
        {
            let pending = self.peers.get_mut(slot).pending.take().expect("only pending peers wait");
            self.grant(slot, id, pending.count, Some(self.now - pending.since));
            self.renew_after_wait(slot, pending.wait);
            grants += 1;
        }
        grants
    }

    /// Makes a lock held. `waited` is `None` for a restored one.
    pub(super) fn grant(
        &mut self,
        slot: Slot,
        id: SemaphoreId,
        count: Count,
        waited: Option<Duration>,
    ) -> FencingToken {
        let since = self.now;
        let token = self.semaphore_mut(id).grant(slot, count, since);
        let peer = self.peers.get_mut(slot);
        peer.held.push(Held { semaphore: id, count, token, since });
        self.events.push_back(Event::Granted {
            peer: peer.id,
            semaphore: id,
            count,
            token,
            waited,
        });
        token
    }

    pub(super) fn awaits_release(&self, semaphore: SemaphoreId) -> bool {
        self.semaphore(semaphore).is_ok_and(Semaphore::awaits_release)
    }
}
