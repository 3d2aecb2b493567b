//! Everything that must always be true, recomputed from scratch. For tests.

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
        assert!(self.now <= self.present, "nothing is done before its time");
        let labels = self.peers.iter_from(0).map(|(_, peer)| super::bytes(peer.labels.as_deref()));
        assert_eq!(self.label_bytes, labels.sum::<u64>(), "bytes of labels are a sum");
        let (mut held, mut pending) = (BTreeMap::new(), BTreeMap::new());
        for (slot, peer) in self.peers.iter_from(0) {
            assert_eq!(self.peers.slot(peer.id), Some(slot), "a peer is found by its id");
            assert!(self.now <= peer.timeout(), "nobody outlives their timeout");
            let entry = self.deadlines.at(slot).expect("every peer has a deadline");
            assert!(entry <= peer.timeout(), "no timeout is missed");
            for lock in &peer.held {
                let entry: &mut (u64, usize) = held.entry(lock.semaphore).or_default();
                *entry = (entry.0 + lock.count.get(), entry.1 + 1);
            }
            if let Some(lock) = &peer.pending {
                let entry: &mut (u128, usize) = pending.entry(lock.semaphore).or_default();
                *entry = (entry.0 + u128::from(lock.count.get()), entry.1 + 1);
                assert!(peer.held(lock.semaphore).is_none(), "nobody waits for what they hold");
                assert_ne!(
                    lock.wait,
                    WaitState::Attended(0),
                    "who is attended has an open request"
                );
            }
        }
        assert_eq!(self.peers.ids_len(), self.peers.len(), "ids of the gone are forgotten");
        assert_eq!(self.deadlines.len(), self.peers.len(), "every peer has a deadline");
        for (index, semaphore) in self.semaphores.iter().enumerate() {
            let id = SemaphoreId(u32::try_from(index).expect("ids have 32 bits"));
            let held = held.remove(&id).unwrap_or_default();
            let pending = pending.remove(&id).unwrap_or_default();
            let Some(semaphore) = semaphore else {
                assert_eq!((held.1, pending.1), (0, 0), "a removed semaphore is unused");
                continue;
            };
            assert_eq!((semaphore.held(), semaphore.holders_len()), held, "held is a sum");
            assert_eq!((semaphore.pending(), semaphore.waiters_len()), pending, "pending is a sum");
            self.validate_queue(id);
        }
    }

    /// A head of the queue that fits never waits, and the queue agrees with its peers.
    fn validate_queue(&self, id: SemaphoreId) {
        let semaphore = self.semaphore(id).expect("it was just found");
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
