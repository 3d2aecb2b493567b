//! Tells the log that connections or open files run short, of each once a minute at most.

use std::{io, time::Duration};

use throttle_runtime::Time;
use tracing::warn;

/// What happened since the log was told.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    evicted: u64,
    refused: u64,
    told: Option<Time>,
    told_exhausted: Option<Time>,
}

impl Shortage {
    /// A connection was closed in favour of another one, when `open` were open.
    pub(super) fn evicted(&mut self, now: Time, open: usize, limit: usize) {
        self.evicted += 1;
        self.tell(now, open, limit);
    }

    /// A connection was answered 503.
    pub(super) fn refused(&mut self, now: Time, open: usize, limit: usize) {
        self.refused += 1;
        self.tell(now, open, limit);
    }

    /// No connection could be accepted.
    pub(super) fn exhausted(&mut self, now: Time, error: &io::Error) {
        if self.told_exhausted.is_none_or(|told| now - told >= INTERVAL) {
            self.told_exhausted = Some(now);
            warn!(%error, "cannot accept connections; is the limit of open files too low?");
        }
    }

    fn tell(&mut self, now: Time, open: usize, limit: usize) {
        if self.told.is_some_and(|told| now - told < INTERVAL) {
            return;
        }
        self.told = Some(now);
        let Self { evicted, refused, .. } = *self;
        warn!(
            open,
            limit, evicted, refused, "connections run short: those idle for longest are closed"
        );
        (self.evicted, self.refused) = (0, 0);
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
