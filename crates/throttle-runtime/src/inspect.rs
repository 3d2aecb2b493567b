//! Looking at who holds what, since when, and who waits.
//!
//! Every answer is taken from the state machine itself, so numbers and lists cannot drift apart.
//! Long lists come in pages, each of which is consistent in itself.

use std::{sync::Arc, time::Duration};

use throttle_core::{
    Count, Error as Refused, FencingToken, Labels, Level, PeerCursor, PeerId, SemaphoreId, Ticket,
};

use crate::{Error, Handle, names::Names, state::State};

/// A semaphore in numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SemaphoreStatus {
    /// What it is called.
    pub name: Arc<str>,
    /// Its full count.
    pub max: Count,
    /// Its place in the lock hierarchy.
    pub level: Level,
    /// Sum of the counts held. May exceed `max` after restores and after `max` was lowered.
    pub held: u64,
    /// Sum of the counts awaited, parked waiters included; at most `u64::MAX`.
    pub pending: u64,
    /// `max` minus `held`, negative if that exceeds it.
    pub remainder: i64,
    /// How many peers hold it.
    pub holders: usize,
    /// How many peers wait for it, parked ones included.
    pub waiters: usize,
    /// For how long the longest waiting peer has been waiting; zero if nobody waits.
    pub longest_pending: Duration,
}

/// A peer, what it holds and what it waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerStatus {
    /// Who.
    pub id: PeerId,
    /// The length of the lease.
    pub expires_in: Duration,
    /// What is left of the lease. All of it while an open request keeps it from running.
    pub time_left: Duration,
    /// What the peer says about itself.
    pub labels: Labels,
    /// What it holds, in the order of the grants.
    pub held: Vec<HeldLock>,
    /// What it waits for.
    pub pending: Option<PendingLock>,
}

/// A lock that a peer holds.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "fields say what, how much and for how long")]
pub struct HeldLock {
    pub semaphore: Arc<str>,
    pub count: Count,
    pub token: FencingToken,
    pub held_for: Duration,
}

/// A lock that a peer waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "fields say what, how much and for how long")]
pub struct PendingLock {
    pub semaphore: Arc<str>,
    pub count: Count,
    pub waiting_for: Duration,
    /// Whether the waiter is passed over because its connection broke.
    pub parked: bool,
}

/// A peer that holds a semaphore.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "fields say who, how much and for how long")]
pub struct Holder {
    pub peer: PeerId,
    pub count: Count,
    pub token: FencingToken,
    pub held_for: Duration,
    /// What is left of the peer's lease.
    pub time_left: Duration,
    pub labels: Labels,
}

/// A peer that waits for a semaphore.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "fields say who, how much and for how long")]
pub struct Waiter {
    pub peer: PeerId,
    pub count: Count,
    pub ticket: Ticket,
    pub waiting_for: Duration,
    /// Whether the waiter is passed over because its connection broke.
    pub parked: bool,
    /// What is left of the peer's lease.
    pub time_left: Duration,
    pub labels: Labels,
}

impl Handle {
    /// Whether the peer waits for nothing.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub fn is_acquired(&self, peer: PeerId) -> Result<bool, Error> {
        Ok(self.look(|state| state.throttle.is_acquired(peer))?)
    }

    /// The maximum of a semaphore minus what is held of it. Negative if that exceeds it.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        Ok(self.semaphore(semaphore)?.remainder)
    }

    /// One peer.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub fn peer(&self, peer: PeerId) -> Result<PeerStatus, Error> {
        Ok(self.look(|state| {
            let status = state.throttle.peer_status(peer)?;
            Ok::<_, Refused>(named(&state.names, &status))
        })?)
    }

    /// At most `limit` peers, from the one after `after` on. Fewer are left if fewer come.
    ///
    /// Who lists them page by page sees each peer that lives all the while exactly once.
    pub fn peers(&self, after: Option<PeerCursor>, limit: usize) -> Vec<(PeerCursor, PeerStatus)> {
        self.look(|state| {
            let peers = state.throttle.peers(after).take(limit);
            peers.map(|(cursor, status)| (cursor, named(&state.names, &status))).collect()
        })
    }

    /// How many peers there are.
    pub fn peer_count(&self) -> usize {
        self.look(|state| state.throttle.peer_count())
    }

    /// All semaphores, in the order of their names.
    pub fn semaphores(&self) -> Vec<SemaphoreStatus> {
        let mut semaphores: Vec<_> = self.look(|state| {
            let ids = state.names.entries().iter().map(|entry| entry.id);
            ids.filter_map(|id| semaphore_status(state, id).ok()).collect()
        });
        semaphores.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        semaphores
    }

    /// One semaphore.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn semaphore(&self, name: &str) -> Result<SemaphoreStatus, Error> {
        Ok(self.look(|state| semaphore_status(state, state.names.id(name)?))?)
    }

    /// One semaphore with the first `limit` of its holders and of its waiters, all at one instant.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn overview(
        &self,
        name: &str,
        limit: usize,
    ) -> Result<(SemaphoreStatus, Vec<Holder>, Vec<Waiter>), Error> {
        Ok(self.look(|state| {
            let id = state.names.id(name)?;
            let (holders, waiters) = (holders(state, id, None)?, waiters(state, id, None)?);
            let status = semaphore_status(state, id)?;
            Ok::<_, Refused>((status, holders.take(limit).collect(), waiters.take(limit).collect()))
        })?)
    }

    /// At most `limit` holders in the order of the grants, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn holders(
        &self,
        name: &str,
        after: Option<FencingToken>,
        limit: usize,
    ) -> Result<Vec<Holder>, Error> {
        Ok(self.look(|state| {
            let holders = holders(state, state.names.id(name)?, after)?;
            Ok::<_, Refused>(holders.take(limit).collect())
        })?)
    }

    /// At most `limit` waiters in the order of arrival, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn waiters(
        &self,
        name: &str,
        after: Option<Ticket>,
        limit: usize,
    ) -> Result<Vec<Waiter>, Error> {
        Ok(self.look(|state| {
            let waiters = waiters(state, state.names.id(name)?, after)?;
            Ok::<_, Refused>(waiters.take(limit).collect())
        })?)
    }

    /// Looks at the state after everybody who is due has gone.
    fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.operate(|state, _| look(state))
    }
}

fn semaphore_status(state: &State, id: SemaphoreId) -> Result<SemaphoreStatus, Refused> {
    let status = state.throttle.semaphore_status(id)?;
    Ok(SemaphoreStatus {
        name: Arc::clone(state.names.name(id)),
        max: status.max,
        level: status.level,
        held: status.held,
        pending: u64::try_from(status.pending).unwrap_or(u64::MAX),
        remainder: status.remainder(),
        holders: status.holders,
        waiters: status.waiters,
        longest_pending: status.longest_pending,
    })
}

fn holders(
    state: &State,
    id: SemaphoreId,
    after: Option<FencingToken>,
) -> Result<impl Iterator<Item = Holder>, Refused> {
    Ok(state.throttle.holders(id, after)?.map(|(lock, peer)| Holder {
        peer: peer.id,
        count: lock.count,
        token: lock.token,
        held_for: lock.held_for,
        time_left: peer.time_left,
        labels: peer.labels.cloned().unwrap_or_default(),
    }))
}

fn waiters(
    state: &State,
    id: SemaphoreId,
    after: Option<Ticket>,
) -> Result<impl Iterator<Item = Waiter>, Refused> {
    Ok(state.throttle.waiters(id, after)?.map(|(lock, peer)| Waiter {
        peer: peer.id,
        count: lock.count,
        ticket: lock.ticket,
        waiting_for: lock.waiting_for,
        parked: lock.parked,
        time_left: peer.time_left,
        labels: peer.labels.cloned().unwrap_or_default(),
    }))
}

fn named(names: &Names, status: &throttle_core::PeerStatus<'_>) -> PeerStatus {
    PeerStatus {
        id: status.id,
        expires_in: status.expires_in,
        time_left: status.time_left,
        labels: status.labels.cloned().unwrap_or_default(),
        held: status
            .held
            .iter()
            .map(|lock| HeldLock {
                semaphore: Arc::clone(names.name(lock.semaphore)),
                count: lock.count,
                token: lock.token,
                held_for: lock.held_for,
            })
            .collect(),
        pending: status.pending.map(|lock| PendingLock {
            semaphore: Arc::clone(names.name(lock.semaphore)),
            count: lock.count,
            waiting_for: lock.waiting_for,
            parked: lock.parked,
        }),
    }
}
