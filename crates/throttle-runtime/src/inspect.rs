//! Looking at who holds what, since when, and who waits.
//!
//! Every answer is taken from the state machine itself, so numbers and lists cannot drift apart.
//! Long lists come in pages, each of which is consistent in itself. A page is bounded by all that is
//! copied for it, be it peers, locks or text, so that nobody waits long for the state; names are
//! looked up after it is free again.

use std::sync::Arc;

use throttle_core::{
    Error as Refused, FencingToken, Holder, Labels, PeerCursor, PeerId, SemaphoreId, Ticket, Waiter,
};

use crate::{
    error::Error,
    handle::Handle,
    names::{Entry, Names},
    service::NO_PANIC,
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
    pub async fn is_acquired(&self, peer: PeerId) -> Result<bool, Error> {
        self.answer(|state, _| state.throttle.is_acquired(peer)).await
    }

    /// The maximum of a semaphore minus what is held of it. Negative if that exceeds it.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        self.answer(|state, _| {
            let status = state.throttle.semaphore_status(state.names.id(semaphore)?)?;
            Ok::<_, Refused>(status.remainder())
        })
        .await
    }

    /// One peer.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub async fn peer(&self, peer: PeerId) -> Result<PeerStatus, Error> {
        let answer = self.answer(|state, _| {
            let status = state.throttle.peer_status(peer, PLACES)?;
            Ok::<_, Refused>((Arc::clone(&state.names), status))
        });
        let (names, status) = answer.await?;
        Ok(named(status, &names))
    }

    /// Some peers, from the one after `after` on: at most `limit`, fewer if they have many locks or
    /// long labels, and at least one if there is one.
    ///
    /// A caller that lists them page by page sees each peer that lives all the while exactly once.
    pub async fn peers(
        &self,
        after: Option<PeerCursor>,
        limit: usize,
    ) -> Page<PeerStatus, PeerCursor> {
        let look = self.look(|state| {
            let peers = state.throttle.peers(after);
            let cost = |peer: &throttle_core::PeerStatus| {
                cost_of_labels(&peer.labels) + size_of_val(&*peer.held)
            };
            (Arc::clone(&state.names), page(peers, limit, cost))
        });
        let (names, Page { entries, next }) = look.await;
        Page { entries: entries.into_iter().map(|peer| named(peer, &names)).collect(), next }
    }

    /// How many peers there are.
    pub async fn peer_count(&self) -> usize {
        self.look(|state| state.throttle.peer_count()).await
    }

    /// All semaphores, in the order of their names.
    ///
    /// The state is looked at page by page, as [`semaphore_pages`](Self::semaphore_pages) describes.
    pub async fn semaphores(&self) -> Vec<SemaphoreStatus> {
        let mut pages = self.semaphore_pages().await;
        let mut semaphores = Vec::new();
        while let Some(page) = pages.next().await {
            semaphores.extend(page);
        }
        semaphores
    }

    /// All semaphores that exist now, in the order of their names, a few at a time.
    pub async fn semaphore_pages(&self) -> SemaphorePages {
        let names = self.look(|state| Arc::clone(&state.names)).await;
        SemaphorePages { handle: self.clone(), names, position: 0 }
    }

    /// One semaphore.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn semaphore(&self, name: &str) -> Result<SemaphoreStatus, Error> {
        self.answer(|state, _| semaphore_status(state, state.names.entry(name)?)).await
    }

    /// One semaphore with the first page of its holders and of its waiters, all at one instant.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn overview(&self, name: &str, limit: usize) -> Result<Overview, Error> {
        self.answer(|state, _| {
            let entry = state.names.entry(name)?;
            Ok::<_, Refused>(Overview {
                status: semaphore_status(state, entry)?,
                holders: holders(state, entry.id, None, limit)?,
                waiters: waiters(state, entry.id, None, limit)?,
            })
        })
        .await
    }

    /// Some holders in the order of the grants, from the one after `after` on: at most `limit`, fewer
    /// if they have long labels, and at least one if there is one.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn holders(
        &self,
        name: &str,
        after: Option<FencingToken>,
        limit: usize,
    ) -> Result<Page<Holder, FencingToken>, Error> {
        self.answer(|state, _| holders(state, state.names.id(name)?, after, limit)).await
    }

    /// Some waiters in the order of arrival, from the one after `after` on, as many as of the holders.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn waiters(
        &self,
        name: &str,
        after: Option<Ticket>,
        limit: usize,
    ) -> Result<Page<Waiter, Ticket>, Error> {
        self.answer(|state, _| waiters(state, state.names.id(name)?, after, limit)).await
    }

    /// Looks at the state after all peers whose lease has ended are gone.
    ///
    /// # Panics
    ///
    /// If an earlier operation did.
    pub(crate) async fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.answer(|state, _| Ok::<_, Error>(look(state))).await.expect(NO_PANIC)
    }
}

/// A list of semaphores that is read page by page, from [`Handle::semaphore_pages`].
#[derive(Clone, Debug)]
pub struct SemaphorePages {
    handle: Handle,
    names: Arc<Names>,
    /// Of the next page's first entry in `names`.
    position: usize,
}

impl SemaphorePages {
    /// The next page, which shows one instant; `None` after the last one.
    ///
    /// Semaphores that were removed before the page is read are left out, so it may be empty.
    pub async fn next(&mut self) -> Option<Vec<SemaphoreStatus>> {
        let rest = &self.names.entries()[self.position..];
        let entries = &rest[..rest.len().min(SEMAPHORES_AT_A_TIME)];
        if entries.is_empty() {
            return None;
        }
        self.position += entries.len();
        let look = self.handle.look(|state| {
            let statuses = entries.iter().map(|entry| semaphore_status(state, entry));
            statuses.filter_map(Result::ok).collect()
        });
        Some(look.await)
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
