//! Inspection: which peers hold and await which semaphores, and for how long.
//!
//! Every answer is read from the state machine itself, so numbers and lists cannot disagree. Long lists
//! come in pages, and each page shows one instant. The bytes that are copied for a page are limited, so that
//! the mutex is never held for long. Names are looked up after it is unlocked.

use std::{iter, sync::Arc};

use throttle_core::{
    Error as Refused, FencingToken, Holder, Labels, PeerCursor, PeerId, SemaphoreId, Ticket, Waiter,
};

use crate::{
    error::Error,
    handle::Handle,
    journal::Shows,
    names::{Entry, Names},
    state::State,
};

/// A semaphore in numbers.
pub type SemaphoreStatus = throttle_core::SemaphoreStatus<Arc<str>>;

/// A peer with the locks it holds and the one it waits for. Only [`Handle::peer`] reports its place in the
/// queue, up to [`MAX_PLACE`].
pub type PeerStatus = throttle_core::PeerStatus<Arc<str>>;

/// A lock that a peer holds.
pub type HeldLock = throttle_core::HeldLock<Arc<str>>;

/// A lock that a peer waits for.
pub type PendingLock = throttle_core::PendingLock<Arc<str>>;

/// A page of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page<E, C> {
    /// The entries, all of them as they were at one instant.
    pub entries: Vec<E>,
    /// The cursor of the last entry, after which the next page begins; `None` on the last page.
    pub next: Option<C>,
}

/// A semaphore with the first of its holders and of its waiters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overview {
    /// The semaphore in numbers.
    pub status: SemaphoreStatus,
    /// The first page of its holders.
    pub holders: Page<Holder, FencingToken>,
    /// The first page of its waiters.
    pub waiters: Page<Waiter, Ticket>,
}

impl Handle {
    /// Whether the peer has no pending lock.
    ///
    /// # Errors
    ///
    /// `unknown_peer`
    pub async fn is_acquired(&self, peer: PeerId) -> Result<bool, Error> {
        self.service.answer(|state, _| state.throttle.is_acquired(peer)).await
    }

    /// The maximum of a semaphore minus the sum of the counts held. Negative if the sum exceeds it.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        self.service
            .answer(|state, _| {
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
        let answer = self.service.answer(|state, _| {
            let status = state.throttle.peer_status(peer, MAX_PLACE)?;
            Ok::<_, Refused>((Arc::clone(&state.names), status))
        });
        let (names, status) = answer.await?;
        Ok(named(status, &names))
    }

    /// The page of peers after `after`: at most `limit`, fewer if they have many locks or long labels, and
    /// at least one unless the list has ended.
    ///
    /// A caller that reads all pages sees each peer exactly once that exists during that whole time.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::StoreFailed`]
    pub async fn peers(
        &self,
        after: Option<PeerCursor>,
        limit: usize,
    ) -> Result<Page<PeerStatus, PeerCursor>, Error> {
        let look = self.look(|state| {
            let peers = state.throttle.peers(after);
            let cost = |peer: &throttle_core::PeerStatus| {
                cost_of_labels(&peer.labels) + size_of_val(&*peer.held)
            };
            (Arc::clone(&state.names), page(peers, limit, cost))
        });
        let (names, Page { entries, next }) = look.await?;
        Ok(Page { entries: entries.into_iter().map(|peer| named(peer, &names)).collect(), next })
    }

    /// The number of peers.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::StoreFailed`]
    pub async fn peer_count(&self) -> Result<usize, Error> {
        self.look(|state| state.throttle.peer_count()).await
    }

    /// All semaphores, sorted by name. They are read page by page, as by
    /// [`semaphore_pages`](Self::semaphore_pages).
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::StoreFailed`]
    pub async fn semaphores(&self) -> Result<Vec<SemaphoreStatus>, Error> {
        let mut pages = self.semaphore_pages().await?;
        let mut semaphores = Vec::new();
        while let Some(page) = pages.next().await? {
            semaphores.extend(page);
        }
        Ok(semaphores)
    }

    /// The pages of a list of all semaphores that exist now, sorted by name.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::StoreFailed`]
    pub async fn semaphore_pages(&self) -> Result<SemaphorePages, Error> {
        let names = self.look(|state| Arc::clone(&state.names)).await?;
        Ok(SemaphorePages { handle: self.clone(), list: NameList::new(names) })
    }

    /// Reads that show every operation at once, whether it is durable or not. For metrics, which should not stop
    /// while a disk hangs.
    pub fn applied(&self) -> Applied<'_> {
        Applied(self)
    }

    /// One semaphore.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn semaphore(&self, name: &str) -> Result<SemaphoreStatus, Error> {
        self.service.answer(|state, _| semaphore_status(state, state.names.entry(name)?)).await
    }

    /// One semaphore with the first pages of its holders and waiters, all at one instant.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn overview(&self, name: &str, limit: usize) -> Result<Overview, Error> {
        self.service
            .answer(|state, _| {
                let entry = state.names.entry(name)?;
                Ok::<_, Refused>(Overview {
                    status: semaphore_status(state, entry)?,
                    holders: holders(state, entry.id, None, limit)?,
                    waiters: waiters(state, entry.id, None, limit)?,
                })
            })
            .await
    }

    /// The holder of a semaphore under a fencing token, if that grant is held at this moment. O(log n).
    ///
    /// A resource that is protected by the lock asks this before it lets a client write.
    ///
    /// # Errors
    ///
    /// `unknown_semaphore`
    pub async fn fencing(
        &self,
        semaphore: &str,
        token: FencingToken,
    ) -> Result<Option<Holder>, Error> {
        let shows = |result: &Result<Option<Holder>, Refused>| match result {
            Ok(Some(holder)) => Shows::Peer(holder.peer),
            Ok(None) | Err(_) => Shows::Everything,
        };
        self.service
            .answer_showing(shows, |state, _| {
                state.throttle.holder(state.names.id(semaphore)?, token)
            })
            .await
    }

    /// The page of holders after `after`, in the order of the grants: at most `limit`, fewer if they have
    /// long labels, and at least one unless the list has ended.
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
        self.service.answer(|state, _| holders(state, state.names.id(name)?, after, limit)).await
    }

    /// The page of waiters after `after`, in the order of the queue, with the limits of
    /// [`holders`](Self::holders).
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
        self.service.answer(|state, _| waiters(state, state.names.id(name)?, after, limit)).await
    }

    /// Reads the state.
    pub(crate) async fn look<R>(&self, look: impl FnOnce(&State) -> R) -> Result<R, Error> {
        self.service.answer(|state, _| Ok::<_, Error>(look(state))).await
    }
}

/// The pages of a list of semaphores, from [`Handle::semaphore_pages`].
#[derive(Clone, Debug)]
pub struct SemaphorePages {
    handle: Handle,
    list: NameList,
}

impl SemaphorePages {
    /// The next page, which shows one instant; `None` after the last one.
    ///
    /// A page may be empty, because semaphores that were removed in the meantime are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::StoreFailed`]
    pub async fn next(&mut self) -> Result<Option<Vec<SemaphoreStatus>>, Error> {
        let Some(entries) = self.list.next() else { return Ok(None) };
        self.handle.look(|state| statuses(state, entries)).await.map(Some)
    }
}

/// Reads of a service that show every operation at once, from [`Handle::applied`].
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a>(&'a Handle);

impl<'a> Applied<'a> {
    /// The number of peers.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if an operation has panicked.
    pub fn peer_count(&self) -> Result<usize, Error> {
        self.read(|state| state.throttle.peer_count())
    }

    /// The pages of a list of all semaphores that exist now, sorted by name, each as
    /// [`SemaphorePages::next`] describes it.
    pub fn semaphore_pages(
        &self,
    ) -> impl Iterator<Item = Result<Vec<SemaphoreStatus>, Error>> + use<'a> {
        let this = *self;
        let (mut list, mut error) = match this.read(|state| Arc::clone(&state.names)) {
            Ok(names) => (NameList::new(names), None),
            Err(error) => (NameList::new(Arc::default()), Some(error)),
        };
        iter::from_fn(move || {
            if let Some(error) = error.take() {
                return Some(Err(error));
            }
            let entries = list.next()?;
            Some(this.read(|state| statuses(state, entries)))
        })
    }

    fn read<R>(&self, read: impl FnOnce(&State) -> R) -> Result<R, Error> {
        self.0.service.try_with_state(|state, _, _| read(state))
    }
}

/// A table of names, from which a list is read page by page.
#[derive(Clone, Debug)]
struct NameList {
    names: Arc<Names>,
    /// The index in `names` of the next page's first semaphore.
    position: usize,
}

impl NameList {
    const fn new(names: Arc<Names>) -> Self {
        Self { names, position: 0 }
    }

    /// The entries of the next page; `None` after the last one.
    fn next(&mut self) -> Option<&[Entry]> {
        let rest = &self.names.entries()[self.position..];
        let entries = &rest[..rest.len().min(SEMAPHORES_IN_A_PAGE)];
        self.position += entries.len();
        (!entries.is_empty()).then_some(entries)
    }
}

/// The status of each semaphore that still exists.
fn statuses(state: &State, entries: &[Entry]) -> Vec<SemaphoreStatus> {
    let statuses = entries.iter().map(|entry| semaphore_status(state, entry));
    statuses.filter_map(Result::ok).collect()
}

/// Takes a page of `entries`, each with its cursor. The page ends at `limit` entries or when its `cost`
/// in bytes reaches [`COST_OF_A_PAGE`], but not before the first entry.
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

/// Names the semaphores of a peer. `names` must be those in force when the peer was read.
fn named(peer: throttle_core::PeerStatus, names: &Names) -> PeerStatus {
    peer.map_semaphores(|id| Arc::clone(names.name(id)))
}

/// The last place in a queue that is reported. Places are counted under the mutex, so there is a limit.
pub const MAX_PLACE: usize = 1_000;

/// The bytes that are copied for these labels.
fn cost_of_labels(labels: &Labels) -> usize {
    let texts = labels.iter().map(|(name, value)| name.len() + value.len() + BYTES_OF_A_LABEL);
    texts.sum()
}

/// How many semaphores a page has at most.
const SEMAPHORES_IN_A_PAGE: usize = 64;

/// How many bytes are copied for a page, not counting its last entry. They take a tenth of a millisecond.
const COST_OF_A_PAGE: usize = 16 * 1024;

/// What a label costs besides its text: two pointers with lengths, and their allocations.
const BYTES_OF_A_LABEL: usize = 64;
