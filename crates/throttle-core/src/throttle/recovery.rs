//! Recovery: a machine is rebuilt from the records of another one, which ended.
//!
//! The outage between the two is not charged to the peers: each gets its full lease from the instant of the
//! recovery. Waiters come back at the place of their tickets, unattended, whether they were attended, parked or
//! neither: nobody waits for an answer yet. New tickets and tokens are greater than all recorded ones.
//!
//! The records come from outside, so each is checked for what the machine relies on before it changes anything.

use alloc::{boxed::Box, vec::Vec};
use core::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use smallvec::SmallVec;

use super::Throttle;
use crate::{
    CancelCause, Count, Damage, FencingToken, HeldRecord, PeerId, PeerRecord, PendingRecord,
    SemaphoreId, Sequence, Ticket, Time,
    peers::{Held, Peer, Pending, WaitState},
    semaphore::{HolderEntry, Semaphore, WaiterEntry},
    time::nanos,
};

/// A machine that is being rebuilt from records.
///
/// The order of the records does not matter.
///
/// ```
/// use core::time::Duration;
/// use throttle_core::{Count, Level, PeerId, Recovery, Settings, Throttle, Time};
///
/// let mut before = Throttle::new(Settings::default());
/// let db = before.add_semaphore(Time::ZERO, Count::ONE, Level(0));
/// let (ann, bob) = (PeerId::new(1).unwrap(), PeerId::new(2).unwrap());
/// before.new_peer(Time::ZERO, ann, Duration::from_secs(30))?;
/// before.new_peer(Time::ZERO, bob, Duration::from_secs(30))?;
/// let held = before.acquire(Time::ZERO, ann, (db, Count::ONE))?;
/// before.acquire(Time::ZERO, bob, (db, Count::ONE))?;
///
/// let mut after = Throttle::new(Settings::default());
/// let same = after.add_semaphore(Time::ZERO, Count::ONE, Level(0));
/// assert_eq!(db, same, "records name semaphores by their ids, so an embedder converts these");
/// let mut recovery = Recovery::new(after, Time::ZERO);
/// recovery.semaphore(db, before.last_token(db)?)?;
/// for (_, record) in before.records(None) {
///     recovery.peer(record)?;
/// }
/// let mut after = recovery.finish();
/// assert_eq!(after.acquire(Time::ZERO, ann, (db, Count::ONE))?, held);
/// assert!(!after.is_acquired(bob)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Recovery {
    throttle: Throttle,
    /// To be retired.
    retired: Vec<SemaphoreId>,
    holders: Entries<FencingToken, HolderEntry>,
    waiters: Entries<Ticket, WaiterEntry>,
}

impl Recovery {
    /// Begins a recovery at `now` into a machine that has its semaphores and no peers.
    ///
    /// Leases begin at `now`. Choose the origin of [`Time`] long before it, so that there are instants for what
    /// happened before the recovery.
    ///
    /// # Panics
    ///
    /// If there are peers already.
    pub fn new(mut throttle: Throttle, now: Time) -> Self {
        assert_eq!(throttle.peers.len(), 0, "peers are recovered before others are created");
        throttle.advance(now);
        Self { throttle, retired: Vec::new(), holders: Entries::new(), waiters: Entries::new() }
    }

    /// Makes the tokens of a semaphore greater than `last_token`.
    ///
    /// # Errors
    ///
    /// [`Damage::UnknownSemaphore`], [`Damage::TokenTooLarge`]
    pub fn semaphore(&mut self, id: SemaphoreId, last_token: FencingToken) -> Result<(), Damage> {
        self.check_semaphore(id)?;
        check_token(id, last_token)?;
        self.throttle.semaphore_mut(id).raise_last_token(last_token);
        Ok(())
    }

    /// Makes the tokens of semaphores that are added later greater than `last`, the
    /// [floor](Throttle::token_floor) of the machine that ended.
    ///
    /// # Errors
    ///
    /// [`Damage::TokenFloorTooLarge`]
    pub fn token_floor(&mut self, last: FencingToken) -> Result<(), Damage> {
        if last > LAST_TOKEN {
            return Err(Damage::TokenFloorTooLarge { token: last });
        }
        self.throttle.last_token = self.throttle.last_token.max(last);
        Ok(())
    }

    /// Retires a semaphore, at the end of the recovery, as [`Throttle::remove_semaphore`] does: nobody is
    /// granted it any more. Add a semaphore for this that has records, but is not wanted any more.
    ///
    /// # Errors
    ///
    /// [`Damage::UnknownSemaphore`]
    pub fn retire(&mut self, id: SemaphoreId) -> Result<(), Damage> {
        self.check_semaphore(id)?;
        self.retired.push(id);
        Ok(())
    }

    /// Adds a peer with its locks and its full lease. The limits of [`Settings`](crate::Settings) do not apply,
    /// and a lock may exceed the maximum. O(log n) for each lock.
    ///
    /// # Errors
    ///
    /// [`Damage`] if the machine could not have been in this state. It names the peer, and changes nothing.
    pub fn peer(&mut self, record: PeerRecord) -> Result<(), Damage> {
        self.check(&record)?;
        let throttle = &mut self.throttle;
        let PeerRecord { id, expires_in, labels, sequence, held, pending } = record;
        let (now, deadline) = (throttle.now, throttle.present + expires_in);
        let held_locks = held.iter().map(|&HeldRecord { semaphore, count, token, since }| Held {
            semaphore,
            count,
            token,
            since: since.min(now),
        });
        let pending_lock = pending.map(|PendingRecord { semaphore, count, ticket, since }| {
            let (since, wait) = (since.min(now), WaitState::Unattended);
            Pending { semaphore, count, ticket, since, wait }
        });
        throttle.label_bytes += labels.bytes();
        let slot = throttle.peers.insert(Peer {
            id,
            expires_in: nanos(expires_in),
            deadline,
            sequence,
            held: held_locks.collect(),
            pending: pending_lock,
            labels: (!labels.is_empty()).then(|| Box::new(labels)),
        });
        throttle.deadlines.insert(slot, deadline);
        for HeldRecord { semaphore, count, token, since } in held {
            let found = throttle.semaphore_mut(semaphore);
            found.raise_last_token(token);
            found.add_recovered(count.get(), 0);
            self.holders.push(semaphore, token, HolderEntry { slot, since: since.min(now) });
        }
        if let Some(PendingRecord { semaphore, count, ticket, .. }) = pending {
            throttle.semaphore_mut(semaphore).add_recovered(0, count.get());
            self.waiters.push(semaphore, ticket, WaiterEntry { slot, count });
            throttle.last_ticket = throttle.last_ticket.max(ticket);
        }
        Ok(())
    }

    /// Remembers the sequence number of a peer that was gone since this instant. O(log n).
    ///
    /// If a peer is recorded more than once, its highest number and the latest instant count.
    pub fn absent(&mut self, peer: PeerId, sequence: Sequence, since: Time) {
        self.throttle.absent.recover(peer, sequence, since.min(self.throttle.now));
    }

    /// Grants nothing, from the [end](Self::finish) of the recovery on, until the grants are
    /// [resumed](Throttle::resume_grants). O(n) in the number of semaphores.
    pub fn suspend_grants(&mut self) {
        self.throttle.suspend_grants(self.throttle.now);
    }

    /// Serves the queues, and returns the machine.
    ///
    /// Pending locks of [retired](Self::retire) semaphores are cancelled, and so are those that exceed the
    /// maximum. What is granted, cancelled or removed here has events; what was recovered has none. O(n) in the
    /// number of waiters, and O(log n) for each that is granted or cancelled.
    #[must_use]
    pub fn finish(self) -> Throttle {
        let Self { mut throttle, retired, mut holders, mut waiters } = self;
        holders.sort();
        waiters.sort();
        for (semaphore, id) in throttle.semaphores.iter_mut().zip(0..) {
            if let Some(semaphore) = semaphore {
                let id = SemaphoreId(id);
                semaphore.recover_entries(holders.of(id), waiters.of(id));
            }
        }
        drop((holders, waiters));
        for id in retired {
            if throttle.semaphore(id).is_ok() {
                throttle.retire(id);
            }
        }
        let waiting = throttle.semaphores.iter().zip(0..).filter_map(|(semaphore, id)| {
            semaphore.as_ref().is_some_and(Semaphore::awaits_release).then_some(SemaphoreId(id))
        });
        for id in waiting.collect::<Vec<_>>() {
            throttle.cancel_too_large(id);
            throttle.serve(id);
        }
        throttle
    }

    fn check(&self, record: &PeerRecord) -> Result<(), Damage> {
        let peer = record.id;
        if self.throttle.peers.slot(peer).is_some() {
            return Err(Damage::PeerTwice { peer });
        }
        let held = record.held.iter().map(|lock| lock.semaphore);
        let mut held: SmallVec<[SemaphoreId; 4]> = held.collect();
        held.sort_unstable();
        if let Some(twice) = held.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Damage::HeldTwice { peer, semaphore: twice[0] });
        }
        for &HeldRecord { semaphore, count, token, .. } in &record.held {
            let found = self.check_semaphore(semaphore)?;
            check_token(semaphore, token)?;
            if self.holders.contains(semaphore, token) {
                return Err(Damage::TokenTwice { peer, semaphore, token });
            }
            if found.held() + count.get() > Count::MAX.get() {
                return Err(Damage::HeldCountTooLarge { peer, semaphore });
            }
        }
        let Some(PendingRecord { semaphore, ticket, .. }) = record.pending else { return Ok(()) };
        if held.binary_search(&semaphore).is_ok() {
            return Err(Damage::AwaitedWhileHeld { peer, semaphore });
        }
        if ticket > LAST_TICKET {
            return Err(Damage::TicketTooLarge { peer, ticket });
        }
        self.check_semaphore(semaphore)?;
        if self.waiters.contains(semaphore, ticket) {
            return Err(Damage::TicketTwice { peer, semaphore, ticket });
        }
        Ok(())
    }

    fn check_semaphore(&self, id: SemaphoreId) -> Result<&Semaphore, Damage> {
        self.throttle.semaphore(id).map_err(|_| Damage::UnknownSemaphore { semaphore: id })
    }
}

impl Throttle {
    /// Cancels the pending locks that exceed the maximum of a semaphore: they could never be granted.
    pub(super) fn cancel_too_large(&mut self, id: SemaphoreId) {
        let semaphore = self.semaphores[id.index()].as_ref();
        let semaphore = semaphore.expect("a semaphore in use is not removed");
        let max = semaphore.max();
        let too_large = semaphore.waiters_after(None).filter(|(_, waiter)| waiter.count > max);
        for (_, WaiterEntry { slot, count }) in too_large.collect::<Vec<_>>() {
            self.cancel(slot, CancelCause::NeverAcquirable { count, max });
        }
    }
}

/// What the semaphores will store of their holders or waiters, in the order of the records.
#[derive(Debug)]
struct Entries<K, V> {
    entries: Vec<(SemaphoreId, K, V)>,
    keys: HashSet<(SemaphoreId, K), FixedState>,
}

impl<K: Copy + Eq + Hash + Ord, V: Copy> Entries<K, V> {
    fn new() -> Self {
        Self { entries: Vec::new(), keys: HashSet::default() }
    }

    fn contains(&self, semaphore: SemaphoreId, key: K) -> bool {
        self.keys.contains(&(semaphore, key))
    }

    fn push(&mut self, semaphore: SemaphoreId, key: K, entry: V) {
        self.entries.push((semaphore, key, entry));
        self.keys.insert((semaphore, key));
    }

    /// Puts the entries of each semaphore next to each other, in the order of their keys.
    fn sort(&mut self) {
        self.keys = HashSet::default();
        self.entries.sort_unstable_by_key(|&(semaphore, key, _)| (semaphore, key));
    }

    /// The entries of a semaphore, once they are sorted. O(log n).
    fn of(&self, semaphore: SemaphoreId) -> impl Iterator<Item = (K, V)> {
        let start = self.entries.partition_point(|&(id, ..)| id < semaphore);
        let entries = self.entries[start..].iter().take_while(move |&&(id, ..)| id == semaphore);
        entries.map(|&(_, key, entry)| (key, entry))
    }
}

fn check_token(semaphore: SemaphoreId, token: FencingToken) -> Result<(), Damage> {
    if token > LAST_TOKEN { Err(Damage::TokenTooLarge { semaphore, token }) } else { Ok(()) }
}

/// Leaves room for four billion grants.
const LAST_TOKEN: FencingToken = FencingToken(FencingToken::MAX.get() - (1 << 32));

/// Leaves room for as many tickets again.
const LAST_TICKET: Ticket = Ticket(1 << 63);
