//! The open waits: requests that are not answered yet because they wait for a lock.
//!
//! An open wait costs memory and a connection for as long as it lasts, so their number has a limit. A
//! request beyond the limit is not refused, because its client would only repeat it. Instead it becomes a
//! *short* wait: it is queued like any other, but it is answered after [`SHORT_WAIT`] that its lock is still
//! pending. Short waits are kept in the order in which they began, so that the oldest can be ended even
//! earlier when the server runs out of connections.

use std::{collections::BTreeMap, time::Duration};

use throttle_core::{CancelCause, Count, FencingToken, PeerId, Ticket, Time};
use tokio::sync::oneshot;

use crate::rate_limit::RateLimit;

/// How long a short wait lasts at most. Clients of version 0.5 then repeat their request immediately.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// How long a short wait lasts at least, so that clients that repeat their request do not run in a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// At most once in this time a line about short waits is logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The numbers of open waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenWaits {
    /// How many there are now, short ones included.
    pub open: usize,
    /// How many of them are short.
    pub short: usize,
    /// How many may last for their whole `block_for`.
    pub limit: usize,
    /// How many were beyond the limit so far, and therefore short.
    pub cut_short: u64,
}

/// The open waits, by peer.
///
/// Most peers have one. A client that believes its connection broken, and repeats its request, has two for a
/// while. All of them get the same outcome.
#[derive(Debug)]
pub(crate) struct Waits {
    by_peer: BTreeMap<PeerId, Vec<WaitSender>>,
    /// Of each short wait its peer, and when it began. That instant is taken from the lease clock, because
    /// the state machine lags behind while it has a backlog.
    short: BTreeMap<WaitId, (PeerId, Time)>,
    open: usize,
    limit: usize,
    last: WaitId,
    cut_short: u64,
    /// How many of those in `cut_short` were logged.
    reported: u64,
    log: RateLimit,
}

/// The id of a wait. Ids grow, so their order is the order in which the waits began.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct WaitId(u64);

/// An open wait as the state keeps it. The operation that ends the wait sends its outcome here.
#[derive(Debug)]
pub(crate) struct WaitSender {
    pub(crate) ticket: Ticket,
    pub(crate) sender: oneshot::Sender<Outcome>,
    id: WaitId,
}

/// What identifies an open wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitKey {
    pub(crate) peer: PeerId,
    pub(crate) ticket: Ticket,
    pub(crate) id: WaitId,
}

/// An open wait as its request keeps it. The outcome arrives here.
#[derive(Debug)]
pub(crate) struct WaitReceiver {
    pub(crate) id: WaitId,
    pub(crate) outcome: oneshot::Receiver<Outcome>,
    /// How long it may wait.
    pub(crate) block_for: Duration,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The pending lock was cancelled.
    Cancelled(CancelCause),
    /// The lock is held, with this count.
    Granted(Count, FencingToken),
    /// The lock is still pending, with this count, but the request is to wait no longer.
    Queued(Count),
}

impl Waits {
    /// No waits, and no limit.
    pub(crate) fn new() -> Self {
        Self {
            by_peer: BTreeMap::new(),
            short: BTreeMap::new(),
            open: 0,
            limit: usize::MAX,
            last: WaitId(0),
            cut_short: 0,
            reported: 0,
            log: RateLimit::default(),
        }
    }

    /// Sets the limit. Open waits are not affected.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds a wait, which is short if it is beyond the limit.
    pub(crate) fn add(
        &mut self,
        now: Time,
        peer: PeerId,
        ticket: Ticket,
        block_for: Duration,
    ) -> WaitReceiver {
        let id = WaitId(self.last.0 + 1);
        let is_short = self.open - self.short.len() >= self.limit;
        if is_short {
            self.short.insert(id, (peer, now));
            self.cut_short += 1;
        }
        self.last = id;
        self.open += 1;
        let (sender, outcome) = oneshot::channel();
        self.by_peer.entry(peer).or_default().push(WaitSender { ticket, sender, id });
        let block_for = if is_short { block_for.min(SHORT_WAIT) } else { block_for };
        WaitReceiver { id, outcome, block_for }
    }

    /// Removes one of the peer's waits, if it is open.
    pub(crate) fn remove(&mut self, peer: PeerId, id: WaitId) -> Option<WaitSender> {
        let waits = self.by_peer.get_mut(&peer)?;
        let position = waits.iter().position(|wait| wait.id == id)?;
        let wait = waits.swap_remove(position);
        if waits.is_empty() {
            self.by_peer.remove(&peer);
        }
        self.uncount(id);
        Some(wait)
    }

    /// Removes all waits of a peer.
    pub(crate) fn take(&mut self, peer: PeerId) -> Vec<WaitSender> {
        let waits = self.by_peer.remove(&peer).unwrap_or_default();
        for wait in &waits {
            self.uncount(wait.id);
        }
        waits
    }

    /// Whether this wait of the peer is open.
    pub(crate) fn contains(&self, peer: PeerId, id: WaitId) -> bool {
        self.by_peer.get(&peer).is_some_and(|all| all.iter().any(|wait| wait.id == id))
    }

    /// One of the open waits, if there is any.
    pub(crate) fn first(&self) -> Option<WaitKey> {
        let (&peer, waits) = self.by_peer.first_key_value()?;
        let &WaitSender { ticket, id, .. } = waits.first()?;
        Some(WaitKey { peer, ticket, id })
    }

    /// Removes all waits.
    pub(crate) fn take_all(&mut self) -> BTreeMap<PeerId, Vec<WaitSender>> {
        self.short.clear();
        self.open = 0;
        std::mem::take(&mut self.by_peer)
    }

    /// The oldest short wait, if it has lasted for [`SHORTEST_WAIT`].
    pub(crate) fn oldest_short(&self, now: Time) -> Option<WaitKey> {
        let (&id, &(peer, began)) = self.short.first_key_value()?;
        if now - began < SHORTEST_WAIT {
            return None;
        }
        let wait = self.by_peer.get(&peer)?.iter().find(|wait| wait.id == id)?;
        Some(WaitKey { peer, ticket: wait.ticket, id })
    }

    pub(crate) fn status(&self) -> OpenWaits {
        let Self { open, limit, cut_short, ref short, .. } = *self;
        OpenWaits { open, short: short.len(), limit, cut_short }
    }

    /// How many short waits began since the last report, if it is time for another one.
    pub(crate) fn report(&mut self, now: Time) -> Option<u64> {
        if self.cut_short == self.reported || !self.log.admits(now, REPORT_INTERVAL) {
            return None;
        }
        let before = std::mem::replace(&mut self.reported, self.cut_short);
        Some(self.cut_short - before)
    }

    fn uncount(&mut self, id: WaitId) {
        self.open -= 1;
        if !self.short.is_empty() {
            self.short.remove(&id);
        }
    }
}
