//! Looking at who holds what, since when, and who waits.
//!
//! Every answer is taken from the state machine itself, so numbers and lists cannot drift apart.
//! Long lists come in pages, each of which is consistent in itself. A page is bounded by all that is
//! copied for it, be it peers, locks or text, so that nobody waits long for the state; names are
//! looked up after it is free again.

use std::{iter, sync::Arc};

use throttle_core::{
    Error as Refused, FencingToken, Holder, Labels, PeerCursor, PeerId, SemaphoreId, Ticket, Waiter,
};

use crate::{
    error::Error,
    handle::Handle,
    names::{Entry, Names},
    state::State,
};

/// A semaphore in numbers.
pub type SemaphoreStatus = throttle_core::SemaphoreStatus<Arc<str>>;

/// A peer with the locks it holds and the one it waits for. Its place in the queue is known if the peer
/// was asked for alone, and is among the first [`PLACES`].
pub type PeerStatus = throttle_core::PeerStatus<Arc<str>>;

/// A lock that a peer holds.
pub type HeldLock = throttle_core::HeldLock<Arc<str>>;

/// A lock that a peer waits for.
pub type PendingLock = throttle_core::PendingLock<Arc<str>>;

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
        let (names, status) = self.attempt(|state, _| {
            let status = state.throttle.peer_status(peer, PLACES)?;
            Ok::<_, Refused>((Arc::clone(&state.names), status))
        })?;
        Ok(named(status, &names))
    }

    /// Some peers, from the one after `after` on: at most `limit`, fewer if they have many locks or
    /// long labels, and at least one if there is one.
    ///
    /// Who lists them page by page sees each peer that lives all the while exactly once.
    pub fn peers(&self, after: Option<PeerCursor>, limit: usize) -> Page<PeerStatus, PeerCursor> {
        let (names, Page { entries, next }) = self.look(|state| {
            let peers = state.throttle.peers(after);
            let cost = |peer: &throttle_core::PeerStatus| {
                cost_of_labels(&peer.labels) + size_of_val(&*peer.held)
            };
            (Arc::clone(&state.names), page(peers, limit, cost))
        });
        Page { entries: entries.into_iter().map(|peer| named(peer, &names)).collect(), next }
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
    Ok(state.throttle.semaphore_status(entry.id)?.named(Arc::clone(&entry.name)))
}

fn holders(
    state: &State,
    id: SemaphoreId,
    after: Option<FencingToken>,
    limit: usize,
) -> Result<Page<Holder, FencingToken>, Refused> {
    let holders = state.throttle.holders(id, after)?.map(|holder| (holder.token, holder));
    Ok(page(holders, limit, |holder| cost_of_labels(&holder.labels)))
}

fn waiters(
    state: &State,
    id: SemaphoreId,
    after: Option<Ticket>,
    limit: usize,
) -> Result<Page<Waiter, Ticket>, Refused> {
    let waiters = state.throttle.waiters(id, after)?.map(|waiter| (waiter.ticket, waiter));
    Ok(page(waiters, limit, |waiter| cost_of_labels(&waiter.labels)))
}

/// A peer with the names of its semaphores that were in force when it was copied.
fn named(peer: throttle_core::PeerStatus, names: &Names) -> PeerStatus {
    peer.map_semaphores(|id| Arc::clone(names.name(id)))
}

/// Up to where in a queue places are told: they are counted while nobody else can do anything.
pub const PLACES: usize = 1_000;

/// What it costs to copy a peer with these labels, in bytes.
fn cost_of_labels(labels: &Labels) -> usize {
    let texts = labels.iter().map(|(name, value)| name.len() + value.len() + BYTES_OF_A_LABEL);
    texts.sum()
}

/// How many semaphores are looked at together.
const SEMAPHORES_AT_A_TIME: usize = 64;

/// How many bytes are copied together, not counting the last peer. A tenth of a millisecond.
const COST_OF_A_PAGE: usize = 16 * 1024;

/// Where a name and a value are, and what it takes to make room for them.
const BYTES_OF_A_LABEL: usize = 64;
