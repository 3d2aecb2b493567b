//! The log lines about peers that expired or were removed.
//!
//! At WARN, the timer writes at most one line a second, which sums up the expired peers. At INFO, there is
//! also a line for each peer: its data is collected in the critical section, if the level is enabled, and
//! written after it.

use std::{fmt, mem, sync::Arc, time::Duration};

use throttle_core::{CancelCause, Count, Event, FencingToken, Labels, PeerId, Time};
use tracing::Level;

use crate::{names::Names, rate_limit::RateLimit};

/// The target of log lines about peers.
pub(crate) const TARGET: &str = "throttle::peers";

/// The peers that expired or were removed in one critical section.
#[derive(Debug)]
pub(crate) struct PeerLog {
    /// Whether each peer gets a line of its own.
    each: bool,
    /// Locks that were just released. They may belong to the peer that the next event removes.
    locks: Vec<LostLock>,
    /// The pending lock of the peer that the next event removes.
    awaited: Option<LostPending>,
    peers: Vec<GonePeer>,
    expired: ExpiryTally,
    /// Kept to be freed after the critical section.
    #[expect(clippy::vec_box, reason = "moving them out of their boxes would cost time")]
    labels: Vec<Box<Labels>>,
}

#[derive(Debug)]
struct GonePeer {
    peer: PeerId,
    expired: bool,
    locks: LostLocks,
    awaited: Option<LostPending>,
    labels: Option<Box<Labels>>,
}

/// The first locks of a peer, and how many it held.
#[derive(Debug)]
struct LostLocks {
    first: Vec<LostLock>,
    number: usize,
}

#[derive(Debug)]
struct LostLock {
    semaphore: Arc<str>,
    count: Count,
    token: FencingToken,
    held: Duration,
}

#[derive(Debug)]
struct LostPending {
    semaphore: Arc<str>,
    count: Count,
    waited: Duration,
}

impl PeerLog {
    pub(crate) fn new() -> Self {
        Self {
            each: tracing::enabled!(target: TARGET, Level::INFO),
            locks: Vec::new(),
            awaited: None,
            peers: Vec::new(),
            expired: ExpiryTally::default(),
            labels: Vec::new(),
        }
    }

    /// Records an event that belongs to the end of a peer, and ignores others.
    pub(crate) fn record(&mut self, event: Event, names: &Names) {
        match event {
            // The events of a peer's locks come immediately before the event that removes the peer.
            Event::Released { semaphore, count, token, held, .. } if self.each => {
                let semaphore = names.name_or_number(semaphore);
                self.locks.push(LostLock { semaphore, count, token, held });
            }
            Event::Cancelled { semaphore, count, waited, cause: CancelCause::PeerGone, .. }
                if self.each =>
            {
                let semaphore = names.name_or_number(semaphore);
                self.awaited = Some(LostPending { semaphore, count, waited });
            }
            Event::Expired { peer, locks, labels } => {
                self.expired.add(locks);
                self.add_peer(peer, true, locks, labels);
            }
            Event::Removed { peer, locks, labels } => self.add_peer(peer, false, locks, labels),
            _ => {}
        }
    }

    fn add_peer(&mut self, peer: PeerId, expired: bool, locks: u32, labels: Option<Box<Labels>>) {
        if !self.each {
            self.labels.extend(labels);
            return;
        }
        let number = locks as usize;
        // Earlier ones were released by other peers.
        let mut first = self.locks.split_off(self.locks.len().saturating_sub(number));
        first.truncate(LOCKS_IN_A_LINE);
        self.locks.clear();
        let locks = LostLocks { first, number };
        let awaited = self.awaited.take();
        self.peers.push(GonePeer { peer, expired, locks, awaited, labels });
    }

    /// Writes a line about each peer, if that level is enabled.
    pub(crate) fn log(self) {
        for peer in &self.peers {
            peer.log();
        }
    }
}

impl GonePeer {
    fn log(&self) {
        let Self { peer, locks, .. } = self;
        let awaited = self.awaited.as_ref().map(tracing::field::display);
        let labels = self.labels.as_ref().map(tracing::field::debug);
        if self.expired {
            tracing::info!(target: TARGET, %peer, %locks, awaited, labels, "peer expired");
        } else {
            tracing::info!(target: TARGET, %peer, %locks, awaited, labels, "peer removed");
        }
    }
}

impl fmt::Display for LostLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.number == 0 {
            return f.write_str("none");
        }
        for (index, LostLock { semaphore, count, token, held }) in self.first.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{count} of {semaphore:?} (token {token}, held for {held:.1?})")?;
        }
        match self.number - self.first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for LostPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { semaphore, count, waited } = self;
        write!(f, "{count} of {semaphore:?} (for {waited:.1?})")
    }
}

/// How many peers expired, how many of them held locks, and how many locks they held.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExpiryTally {
    peers: u64,
    holding: u64,
    locks: u64,
}

impl ExpiryTally {
    fn add(&mut self, locks: u32) {
        self.peers += 1;
        self.holding += u64::from(locks > 0);
        self.locks += u64::from(locks);
    }

    pub(crate) fn log(self) {
        let Self { peers, holding, locks } = self;
        tracing::warn!(target: TARGET, peers, holding, locks, "peers expired");
    }
}

/// The expired peers that no line has reported yet.
#[derive(Debug, Default)]
pub(crate) struct ExpiryLog {
    unreported: ExpiryTally,
    log: RateLimit,
}

impl ExpiryLog {
    /// Adds the expired peers of a critical section.
    pub(crate) fn take_from(&mut self, peer_log: &mut PeerLog) {
        let ExpiryTally { peers, holding, locks } = mem::take(&mut peer_log.expired);
        self.unreported.peers += peers;
        self.unreported.holding += holding;
        self.unreported.locks += locks;
    }

    /// What to log, if peers have expired and the last line was written at least a second ago.
    pub(crate) fn report(&mut self, now: Time) -> Option<ExpiryTally> {
        if self.unreported.peers == 0 || !self.log.admits(now, REPORT_INTERVAL) {
            return None;
        }
        Some(mem::take(&mut self.unreported))
    }
}

impl Drop for ExpiryLog {
    /// Reports the rest at the end of the service.
    fn drop(&mut self) {
        if self.unreported.peers > 0 {
            self.unreported.log();
        }
    }
}

/// The shortest time between two lines about expired peers.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The limit of locks in one line, because a peer may hold all semaphores.
const LOCKS_IN_A_LINE: usize = 100;
