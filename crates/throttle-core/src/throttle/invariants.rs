//! The invariants, recomputed from scratch. For tests.

use alloc::collections::BTreeMap;

use super::Throttle;
use crate::{SemaphoreId, peers::WaitState};

impl Throttle {
    /// Checks every invariant. O(n), for tests and tools.
    ///
    /// # Panics
    ///
    /// If one does not hold.
    pub fn validate(&self) {
        assert!(self.now <= self.present, "now is not after the present");
        let labels = self
            .peers
            .iter_from(0)
            .map(|(_, peer)| super::removal::bytes_of(peer.labels.as_deref()));
        assert_eq!(self.label_bytes, labels.sum::<u64>(), "label_bytes is the sum over all peers");
        let (mut held, mut pending) = (BTreeMap::new(), BTreeMap::new());
        for (slot, peer) in self.peers.iter_from(0) {
            assert_eq!(self.peers.slot(peer.id), Some(slot), "a peer is found by its id");
            assert!(self.now <= peer.timeout(), "no peer outlives its timeout");
            let entry = self.deadlines.at(slot).expect("every peer has a deadline");
            assert!(entry <= peer.timeout(), "no entry is later than its timeout");
            for lock in &peer.held {
                let entry: &mut (u64, usize) = held.entry(lock.semaphore).or_default();
                *entry = (entry.0 + lock.count.get(), entry.1 + 1);
            }
            if let Some(lock) = &peer.pending {
                let entry: &mut (u128, usize) = pending.entry(lock.semaphore).or_default();
                *entry = (entry.0 + u128::from(lock.count.get()), entry.1 + 1);
                assert!(peer.held(lock.semaphore).is_none(), "no peer waits for what it holds");
                assert_ne!(
                    lock.wait,
                    WaitState::Attended(0),
                    "an attended lock has an open request"
                );
            }
        }
        assert_eq!(self.peers.ids_len(), self.peers.len(), "ids of removed peers are forgotten");
        assert_eq!(self.deadlines.len(), self.peers.len(), "every peer has a deadline");
        for (index, semaphore) in self.semaphores.iter().enumerate() {
            let id = SemaphoreId(u32::try_from(index).expect("ids have 32 bits"));
            let held = held.remove(&id).unwrap_or_default();
            let pending = pending.remove(&id).unwrap_or_default();
            let Some(semaphore) = semaphore else {
                assert_eq!((held.1, pending.1), (0, 0), "a removed semaphore is unused");
                continue;
            };
            let is_suspended = self.suspended_from.is_some_and(|from| from <= id);
            assert_eq!(semaphore.is_suspended(), is_suspended, "grants resume in the order of ids");
            let is_deferred = semaphore.deferred().is_some();
            assert!(semaphore.is_in_use() || !is_deferred, "nothing is deferred when unused");
            let has_waiters = semaphore.waiters_len() > 0;
            assert!(!(semaphore.is_retired() && has_waiters), "nobody waits for what is retired");
            assert_eq!(
                (semaphore.held(), semaphore.holders_len()),
                held,
                "held is the sum over all holders"
            );
            assert_eq!(
                (semaphore.pending(), semaphore.waiters_len()),
                pending,
                "pending is the sum over all waiters"
            );
            self.validate_queue(id);
        }
    }

    /// The head of the queue does not fit, and the queue agrees with its peers.
    fn validate_queue(&self, id: SemaphoreId) {
        let semaphore = self.semaphore(id).expect("the caller has just found the semaphore");
        let waiters = semaphore.waiters_after(None);
        let mut queue = waiters.filter(|(ticket, waiter)| {
            let pending = self.peers.get(waiter.slot).pending.expect("only pending peers wait");
            assert_eq!((pending.semaphore, pending.ticket), (id, *ticket), "queue and peer agree");
            assert_eq!(pending.count, waiter.count, "queue and peer agree on the count");
            !matches!(pending.wait, WaitState::Parked(_))
        });
        if let Some((_, head)) = queue.next() {
            assert!(!semaphore.has_room_for(head.count), "a head that fits does not wait");
        }
        queue.for_each(drop);
    }
}
