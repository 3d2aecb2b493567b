//! Everything observable of a machine at one instant, as a value to compare.
//!
//! Lists are read in pages of two entries, so that continuing after a cursor is tested too.

use std::time::Duration;

use throttle_core::{
    HeldLock, Holder, Labels, PeerId, PendingLock, SemaphoreId, SemaphoreStatus, Throttle, Time,
    Waiter,
};

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) now: Time,
    /// In the order of their ids.
    pub(crate) semaphores: Vec<Semaphore>,
    /// In the order of their ids, although the machine lists them in another one.
    pub(crate) peers: Vec<Peer>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Semaphore {
    pub(crate) id: SemaphoreId,
    pub(crate) status: SemaphoreStatus,
    /// In the order of the grants.
    pub(crate) holders: Vec<Holder>,
    /// In the order of arrival.
    pub(crate) waiters: Vec<Waiter>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) expires_in: Duration,
    pub(crate) time_left: Duration,
    pub(crate) labels: Labels,
    pub(crate) held: Vec<HeldLock>,
    pub(crate) pending: Option<PendingLock>,
}

impl Snapshot {
    /// The machine, with those of `semaphores` that exist.
    pub(crate) fn of(throttle: &Throttle, semaphores: &[SemaphoreId]) -> Self {
        let known = semaphores.iter().filter_map(|&id| semaphore(throttle, id));
        Self { now: throttle.now(), semaphores: known.collect(), peers: peers(throttle) }
    }

    /// What a renewal of a peer's lease changes, if the peer exists.
    pub(crate) fn renew(&mut self, id: PeerId, lease: Duration) {
        for peer in self.peers.iter_mut().filter(|peer| peer.id == id) {
            (peer.expires_in, peer.time_left) = (lease, lease);
        }
        for semaphore in &mut self.semaphores {
            for holder in semaphore.holders.iter_mut().filter(|holder| holder.peer == id) {
                holder.time_left = lease;
            }
            for waiter in semaphore.waiters.iter_mut().filter(|waiter| waiter.peer == id) {
                waiter.time_left = lease;
            }
        }
    }

    /// As a machine shows it that was rebuilt from the records: leases are full, and no waiter is parked.
    pub(crate) fn recovered(mut self) -> Self {
        let leases: Vec<_> = self.peers.iter().map(|peer| (peer.id, peer.expires_in)).collect();
        leases.into_iter().for_each(|(peer, lease)| self.renew(peer, lease));
        for semaphore in &mut self.semaphores {
            semaphore.waiters.iter_mut().for_each(|waiter| waiter.parked = false);
        }
        for pending in self.peers.iter_mut().filter_map(|peer| peer.pending.as_mut()) {
            pending.parked = false;
        }
        self
    }

    pub(crate) fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == id)
    }
}

fn semaphore(throttle: &Throttle, id: SemaphoreId) -> Option<Semaphore> {
    let status = throttle.semaphore_status(id).ok()?;
    assert_eq!(
        i128::from(status.remainder()),
        i128::from(status.max.get()) - i128::from(status.held),
        "the remainder is max minus held"
    );
    let holders = read(|after: Option<&Holder>| {
        let page =
            throttle.holders(id, after.map(|holder| holder.token)).expect("the semaphore exists");
        page.take(PAGE).collect()
    });
    let waiters = read(|after: Option<&Waiter>| {
        let page =
            throttle.waiters(id, after.map(|waiter| waiter.ticket)).expect("the semaphore exists");
        page.take(PAGE).collect()
    });
    let mut queued = 0;
    for waiter in &waiters {
        queued += usize::from(!waiter.parked);
        let place = (!waiter.parked && queued <= PLACES).then_some(queued);
        let pending = throttle.peer_status(waiter.peer, PLACES).expect("a waiter waits").pending;
        assert_eq!(
            pending.expect("a waiter waits").place,
            place,
            "the place is the position in the list"
        );
    }
    Some(Semaphore { id, status, holders, waiters })
}

fn peers(throttle: &Throttle) -> Vec<Peer> {
    let listed = read(|after: Option<&(_, PeerId)>| {
        let page = throttle.peers(after.map(|&(cursor, _)| cursor));
        page.take(PAGE).map(|(cursor, peer)| (cursor, peer.id)).collect()
    });
    assert_eq!(listed.len(), throttle.peer_count());
    let mut ids: Vec<_> = listed.into_iter().map(|(_, id)| id).collect();
    ids.sort_unstable();
    ids.into_iter().map(|id| peer(throttle, id)).collect()
}

fn peer(throttle: &Throttle, id: PeerId) -> Peer {
    let status = throttle.peer_status(id, 0).expect("a listed peer exists");
    assert_eq!(throttle.is_acquired(id), Ok(status.pending.is_none()));
    Peer {
        id,
        expires_in: status.expires_in,
        time_left: status.time_left,
        labels: status.labels,
        held: status.held,
        pending: status.pending,
    }
}

/// Reads a list to its end. `page` returns the entries after the given one.
fn read<T>(page: impl Fn(Option<&T>) -> Vec<T>) -> Vec<T> {
    let mut all = Vec::new();
    loop {
        let next = page(all.last());
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

/// Few, so that some waiters have a place beyond it.
const PLACES: usize = 2;

const PAGE: usize = 2;
