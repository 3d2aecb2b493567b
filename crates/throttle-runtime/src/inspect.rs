//! Looking at who holds what, since when, and who waits.
//!
//! Every answer is taken from the state machine itself, so numbers and lists cannot drift apart.
//! Long lists come in pages, each of which is consistent in itself. A page is bounded by all that is
//! copied for it, be it peers, locks or text, so that nobody waits long for the state; names are
//! looked up after it is free again.

use std::{iter, sync::Arc, time::Duration};

use throttle_core::{
    Count, Error as Refused, FencingToken, Labels, Level, PeerCursor, PeerId, SemaphoreId, Ticket,
};

use crate::{
    error::Error,
    handle::Handle,
    names::{Entry, Names},
    state::State,
};

/// A semaphore in numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SemaphoreStatus {
    /// What it is called.
    pub name: Arc<str>,
    /// How events name it.
    pub id: SemaphoreId,
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
    /// For how long the peer that was granted its lock first has been holding it; zero if nobody does.
    pub longest_held: Duration,
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
    /// Where it stands in the queue, those passed over aside; 1 comes next. Known of a single peer that is
    /// among the first [`PLACES`].
    pub place: Option<usize>,
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

/// A part of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page<E, C> {
    /// How things stood at one instant.
    pub entries: Vec<E>,
    /// Behind which entry the next page begins; `None` if nothing came behind this one.
    pub next: Option<C>,
}

/// A semaphore, who holds it and who waits for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overview {
    /// The numbers.
    pub status: SemaphoreStatus,
    /// The first of those who hold it.
    pub holders: Page<Holder, FencingToken>,
    /// The first of those who wait for it.
    pub waiters: Page<Waiter, Ticket>,
}

impl Handle {
    /// Whether the peer waits for nothing.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub fn is_acquired(&self, peer: PeerId) -> Result<bool, Error> {
        self.attempt(|state, _| state.throttle.is_acquired(peer))
    }

    /// The maximum of a semaphore minus what is held of it. Negative if that exceeds it.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        self.attempt(|state, _| {
            let status = state.throttle.semaphore_status(state.names.id(semaphore)?)?;
            Ok::<_, Refused>(status.remainder())
        })
    }

    /// One peer.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub fn peer(&self, peer: PeerId) -> Result<PeerStatus, Error> {
        let (names, copy, place) = self.attempt(|state, _| {
            let copy = state.throttle.peer_status(peer).map(Copied::from)?;
            let place = state.throttle.place(peer, PLACES)?;
            Ok::<_, Refused>((Arc::clone(&state.names), copy, place))
        })?;
        let mut status = copy.named(&names);
        if let Some(pending) = &mut status.pending {
            pending.place = place;
        }
        Ok(status)
    }

    /// Some peers, from the one after `after` on: at most `limit`, fewer if they have many locks or
    /// long labels, and at least one if there is one.
    ///
    /// Who lists them page by page sees each peer that lives all the while exactly once.
    pub fn peers(&self, after: Option<PeerCursor>, limit: usize) -> Page<PeerStatus, PeerCursor> {
        let (names, Page { entries, next }) = self.look(|state| {
            let peers = state.throttle.peers(after);
            let peers = peers.map(|(cursor, status)| (cursor, Copied::from(status)));
            (Arc::clone(&state.names), page(peers, limit, Copied::cost))
        });
        Page { entries: entries.into_iter().map(|copy| copy.named(&names)).collect(), next }
    }

    /// How many peers there are.
    pub fn peer_count(&self) -> usize {
        self.look(|state| state.throttle.peer_count())
    }

    /// All semaphores, in the order of their names.
    ///
    /// They are looked at a few at a time, as [`semaphore_pages`](Self::semaphore_pages) says.
    pub fn semaphores(&self) -> Vec<SemaphoreStatus> {
        self.semaphore_pages().flatten().collect()
    }

    /// All semaphores there are now, in the order of their names, a few at a time.
    ///
    /// The state is looked at once for each page, which shows one instant. A semaphore that is removed
    /// before its page is left out.
    pub fn semaphore_pages(&self) -> impl Iterator<Item = Vec<SemaphoreStatus>> + Send + use<> {
        let handle = self.clone();
        let names = self.look(|state| Arc::clone(&state.names));
        let mut next = 0;
        iter::from_fn(move || {
            let rest = &names.entries()[next..];
            let entries = &rest[..rest.len().min(SEMAPHORES_AT_A_TIME)];
            next += entries.len();
            (!entries.is_empty()).then(|| {
                handle.look(|state| {
                    let statuses = entries.iter().map(|entry| semaphore_status(state, entry));
                    statuses.filter_map(Result::ok).collect()
                })
            })
        })
    }

    /// One semaphore.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn semaphore(&self, name: &str) -> Result<SemaphoreStatus, Error> {
        self.attempt(|state, _| semaphore_status(state, state.names.entry(name)?))
    }

    /// One semaphore with the first page of its holders and of its waiters, all at one instant.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn overview(&self, name: &str, limit: usize) -> Result<Overview, Error> {
        self.attempt(|state, _| {
            let entry = state.names.entry(name)?;
            Ok::<_, Refused>(Overview {
                status: semaphore_status(state, entry)?,
                holders: holders(state, entry.id, None, limit)?,
                waiters: waiters(state, entry.id, None, limit)?,
            })
        })
    }

    /// Some holders in the order of the grants, from the one after `after` on: at most `limit`, fewer
    /// if they have long labels, and at least one if there is one.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn holders(
        &self,
        name: &str,
        after: Option<FencingToken>,
        limit: usize,
    ) -> Result<Page<Holder, FencingToken>, Error> {
        self.attempt(|state, _| holders(state, state.names.id(name)?, after, limit))
    }

    /// Some waiters in the order of arrival, from the one after `after` on, as many as of the holders.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub fn waiters(
        &self,
        name: &str,
        after: Option<Ticket>,
        limit: usize,
    ) -> Result<Page<Waiter, Ticket>, Error> {
        self.attempt(|state, _| waiters(state, state.names.id(name)?, after, limit))
    }

    /// Looks at the state after everybody who is due has gone.
    fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.operate(|state, _| look(state))
    }
}

/// A page of entries that come with their cursors. What each of them costs to copy bounds the page, but
/// it is not empty unless the list is.
fn page<E, C>(
    entries: impl Iterator<Item = (C, E)>,
    limit: usize,
    cost: impl Fn(&E) -> usize,
) -> Page<E, C> {
    let mut page = Page { entries: Vec::new(), next: None };
    let mut total = 0;
    for (cursor, entry) in entries {
        total += cost(&entry);
        page.entries.push(entry);
        if page.entries.len() >= limit || total >= COST_OF_A_PAGE {
            page.next = Some(cursor);
            break;
        }
    }
    page
}

fn semaphore_status(state: &State, entry: &Entry) -> Result<SemaphoreStatus, Refused> {
    let status = state.throttle.semaphore_status(entry.id)?;
    Ok(SemaphoreStatus {
        name: Arc::clone(&entry.name),
        id: entry.id,
        max: status.max,
        level: status.level,
        held: status.held,
        pending: u64::try_from(status.pending).unwrap_or(u64::MAX),
        remainder: status.remainder(),
        holders: status.holders,
        waiters: status.waiters,
        longest_pending: status.longest_pending,
        longest_held: status.longest_held,
    })
}

fn holders(
    state: &State,
    id: SemaphoreId,
    after: Option<FencingToken>,
    limit: usize,
) -> Result<Page<Holder, FencingToken>, Refused> {
    let holders = state.throttle.holders(id, after)?.map(|(lock, peer)| {
        let holder = Holder {
            peer: peer.id,
            count: lock.count,
            token: lock.token,
            held_for: lock.held_for,
            time_left: peer.time_left,
            labels: peer.labels.cloned().unwrap_or_default(),
        };
        (lock.token, holder)
    });
    Ok(page(holders, limit, |holder| cost_of(&holder.labels)))
}

fn waiters(
    state: &State,
    id: SemaphoreId,
    after: Option<Ticket>,
    limit: usize,
) -> Result<Page<Waiter, Ticket>, Refused> {
    let waiters = state.throttle.waiters(id, after)?.map(|(lock, peer)| {
        let waiter = Waiter {
            peer: peer.id,
            count: lock.count,
            ticket: lock.ticket,
            waiting_for: lock.waiting_for,
            parked: lock.parked,
            time_left: peer.time_left,
            labels: peer.labels.cloned().unwrap_or_default(),
        };
        (lock.ticket, waiter)
    });
    Ok(page(waiters, limit, |waiter| cost_of(&waiter.labels)))
}

/// A peer as it is copied while others wait: its locks are still without names.
struct Copied {
    status: PeerStatus,
    held: Vec<throttle_core::HeldLock>,
    pending: Option<throttle_core::PendingLock>,
}

impl From<throttle_core::PeerStatus<'_>> for Copied {
    fn from(status: throttle_core::PeerStatus<'_>) -> Self {
        let throttle_core::PeerStatus { id, expires_in, time_left, labels, held, pending } = status;
        let labels = labels.cloned().unwrap_or_default();
        let status =
            PeerStatus { id, expires_in, time_left, labels, held: Vec::new(), pending: None };
        Self { status, held, pending }
    }
}

impl Copied {
    fn cost(&self) -> usize {
        cost_of(&self.status.labels) + size_of_val(&*self.held)
    }

    /// With the names that were in force when it was copied.
    fn named(self, names: &Names) -> PeerStatus {
        let held = self.held.into_iter().map(|lock| HeldLock {
            semaphore: Arc::clone(names.name(lock.semaphore)),
            count: lock.count,
            token: lock.token,
            held_for: lock.held_for,
        });
        let pending = self.pending.map(|lock| PendingLock {
            semaphore: Arc::clone(names.name(lock.semaphore)),
            count: lock.count,
            waiting_for: lock.waiting_for,
            parked: lock.parked,
            place: None,
        });
        PeerStatus { held: held.collect(), pending, ..self.status }
    }
}

/// Up to where in a queue places are told: they are counted while nobody else can do anything.
pub const PLACES: usize = 1_000;

/// What it costs to copy a peer with these labels, in bytes.
fn cost_of(labels: &Labels) -> usize {
    let texts = labels.iter().map(|(name, value)| name.len() + value.len() + BYTES_OF_A_LABEL);
    texts.sum()
}

/// How many semaphores are looked at together.
const SEMAPHORES_AT_A_TIME: usize = 64;

/// How many bytes are copied together, not counting the last peer. A tenth of a millisecond.
const COST_OF_A_PAGE: usize = 16 * 1024;

/// Where a name and a value are, and what it takes to make room for them.
const BYTES_OF_A_LABEL: usize = 64;
