//! What the log says of peers that are gone.
//!
//! Whatever clients do, the end of their leases is worth one line a second at WARN, which sums up and is
//! written by the timer. At INFO there is a line for each peer besides. What it needs is gathered in the critical section, if the level
//! is enabled, and written after it.

use std::{fmt, mem, sync::Arc, time::Duration};

use throttle_core::{CancelCause, Count, Event, FencingToken, Labels, PeerId, Time};
use tracing::Level;

use crate::{names::Names, rate_limit::RateLimit};

/// Under this name the log tells of peers.
pub(crate) const TARGET: &str = "throttle::peers";

/// Peers that went in one step.
#[derive(Debug)]
pub(crate) struct PeerLog {
    /// Whether each of them is told.
    each: bool,
    /// Locks that were lost by a peer that may be about to be announced as gone.
    locks: Vec<Lock>,
    awaited: Option<Awaited>,
    peers: Vec<Departure>,
    expired: ExpiryTally,
    /// To be freed after the critical section.
    #[expect(clippy::vec_box, reason = "to move them out of their boxes is work, too")]
    labels: Vec<Box<Labels>>,
}

#[derive(Debug)]
struct Departure {
    peer: PeerId,
    expired: bool,
    locks: Locks,
    awaited: Option<Awaited>,
    labels: Option<Box<Labels>>,
}

/// Some of the locks of a peer, and how many there were.
#[derive(Debug)]
struct Locks {
    first: Vec<Lock>,
    number: usize,
}

#[derive(Debug)]
struct Lock {
    semaphore: Arc<str>,
    count: Count,
    token: FencingToken,
    held: Duration,
}

#[derive(Debug)]
struct Awaited {
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

    /// Takes note of an event, if it concerns a peer that goes.
    pub(crate) fn record(&mut self, event: Event, names: &Names) {
        match event {
            // Before a peer is announced as gone, its locks are, one right after the other.
            Event::Released { semaphore, count, token, held, .. } if self.each => {
                let semaphore = names.name_or_number(semaphore);
                self.locks.push(Lock { semaphore, count, token, held });
            }
            Event::Cancelled { semaphore, count, waited, cause: CancelCause::PeerGone, .. }
                if self.each =>
            {
                let semaphore = names.name_or_number(semaphore);
                self.awaited = Some(Awaited { semaphore, count, waited });
            }
            Event::Expired { peer, locks, labels } => {
                self.expired.add(locks);
                self.depart(peer, true, locks, labels);
            }
            Event::Removed { peer, locks, labels } => self.depart(peer, false, locks, labels),
            _ => {}
        }
    }

    fn depart(&mut self, peer: PeerId, expired: bool, locks: u32, labels: Option<Box<Labels>>) {
        if !self.each {
            self.labels.extend(labels);
            return;
        }
        let number = locks as usize;
        // Those before were given back by others.
        let mut first = self.locks.split_off(self.locks.len().saturating_sub(number));
        first.truncate(LOCKS_IN_A_LINE);
        self.locks.clear();
        let locks = Locks { first, number };
        let awaited = self.awaited.take();
        self.peers.push(Departure { peer, expired, locks, awaited, labels });
    }

    /// Writes a line about each of them, if that level is enabled.
    pub(crate) fn log(self) {
        for departure in &self.peers {
            departure.log();
        }
    }
}

impl Departure {
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

impl fmt::Display for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.number == 0 {
            return f.write_str("none");
        }
        for (index, Lock { semaphore, count, token, held }) in self.first.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{count} of {semaphore:?} (token {token}, held for {held:.1?})")?;
        }
        match self.number - self.first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { semaphore, count, waited } = self;
        write!(f, "{count} of {semaphore:?} (for {waited:.1?})")
    }
}

/// How many peers expired, how many of them held something, and how many locks are free by that.
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

/// The peers that expired since the log was told of them the last time.
#[derive(Debug, Default)]
pub(crate) struct ExpiryLog {
    untold: ExpiryTally,
    log: RateLimit,
}

impl ExpiryLog {
    /// Adds those that were recorded.
    pub(crate) fn take_from(&mut self, peer_log: &mut PeerLog) {
        let ExpiryTally { peers, holding, locks } = mem::take(&mut peer_log.expired);
        self.untold.peers += peers;
        self.untold.holding += holding;
        self.untold.locks += locks;
    }

    /// What to tell the log, if there is anything, and if the last line was written a second ago.
    pub(crate) fn report(&mut self, now: Time) -> Option<ExpiryTally> {
        if self.untold.peers == 0 || !self.log.admits(now, BETWEEN_LINES) {
            return None;
        }
        Some(mem::take(&mut self.untold))
    }
}

impl Drop for ExpiryLog {
    /// At the end of the service nobody is left untold.
    fn drop(&mut self) {
        if self.untold.peers > 0 {
            self.untold.log();
        }
    }
}

const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// A line that names them all could be as long as the list of semaphores.
const LOCKS_IN_A_LINE: usize = 100;
