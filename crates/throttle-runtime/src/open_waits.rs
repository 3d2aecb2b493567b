//! The open requests: who waits for an answer, how many they are, and which of them wait briefly.
//!
//! An open request costs memory and a connection for as long as it waits, so there is a limit. A
//! request beyond it is not refused, for its client would only come back at once; it is *short*: it
//! waits in the queue like any other one, but is answered after [`SHORT_WAIT`] that its lock is still
//! pending. Short ones are kept in the order in which they began, so that the oldest can be ended
//! still earlier when connections run short.

use std::{collections::BTreeMap, time::Duration};

use throttle_core::{CancelCause, Count, FencingToken, PeerId, Ticket, Time};
use tokio::sync::oneshot;

use crate::rate_limit::RateLimit;

/// How long a request beyond the limit waits at most. Clients of version 0.5 ask again at once.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// How long a short request waits at least, so that clients which ask again at once are no busy loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// At most once in this time the log tells of requests beyond the limit.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Requests that wait for their answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenWaits {
    /// How many there are now, short ones included.
    pub open: usize,
    /// How many of them are short.
    pub short: usize,
    /// How many may wait for as long as they want.
    pub limit: usize,
    /// How many were beyond the limit so far, and therefore short.
    pub cut_short: u64,
}

/// The open requests, by the peer that waits.
///
/// Most peers have one. A client that repeats a request whose connection it believes to be broken
/// has two for a while; all of them hear the same.
#[derive(Debug)]
pub(crate) struct Waits {
    by_peer: BTreeMap<PeerId, Vec<WaitSender>>,
    /// Whose it is, and when it began. Not in the time of the state machine, which may have a backlog.
    short: BTreeMap<WaitId, (PeerId, Time)>,
    open: usize,
    limit: usize,
    last: WaitId,
    cut_short: u64,
    reported: u64,
    log: RateLimit,
}

/// Ids grow, so their order is the order in which requests began to wait.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct WaitId(u64);

/// An open request, and under which ticket the state machine knows its wait.
#[derive(Debug)]
pub(crate) struct WaitSender {
    pub(crate) ticket: Ticket,
    pub(crate) sender: oneshot::Sender<Outcome>,
    id: WaitId,
}

/// Which request is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitKey {
    pub(crate) peer: PeerId,
    pub(crate) ticket: Ticket,
    pub(crate) id: WaitId,
}

/// What an open request knows of its wait.
#[derive(Debug)]
pub(crate) struct WaitReceiver {
    pub(crate) id: WaitId,
    pub(crate) outcome: oneshot::Receiver<Outcome>,
    /// For how long it may wait.
    pub(crate) block_for: Duration,
}

/// What an open request hears.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Its lock is gone.
    Cancelled(CancelCause),
    /// So much is held.
    Granted(Count, FencingToken),
    /// So much is still pending, but nobody waits any more.
    Pending(Count),
}

impl Waits {
    /// No requests, and no limit.
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

    /// Whoever waits already goes on as before.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

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

    /// Forgets one of the peer's requests, if it is still there.
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

    /// All requests of a peer are over.
    pub(crate) fn take(&mut self, peer: PeerId) -> Vec<WaitSender> {
        let waits = self.by_peer.remove(&peer).unwrap_or_default();
        for wait in &waits {
            self.uncount(wait.id);
        }
        waits
    }

    /// Whether this request of the peer is open.
    pub(crate) fn contains(&self, peer: PeerId, id: WaitId) -> bool {
        self.by_peer.get(&peer).is_some_and(|all| all.iter().any(|wait| wait.id == id))
    }

    /// One of the open requests, if there is any.
    pub(crate) fn first(&self) -> Option<WaitKey> {
        let (&peer, waits) = self.by_peer.first_key_value()?;
        let &WaitSender { ticket, id, .. } = waits.first()?;
        Some(WaitKey { peer, ticket, id })
    }

    /// All requests are over.
    pub(crate) fn take_all(&mut self) -> BTreeMap<PeerId, Vec<WaitSender>> {
        self.short.clear();
        self.open = 0;
        std::mem::take(&mut self.by_peer)
    }

    /// The short request that began first, unless it did so a moment ago.
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

    /// How many requests were beyond the limit that the log was not told of yet, if it is time to do
    /// so.
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
