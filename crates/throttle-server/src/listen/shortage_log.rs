//! Tells the log that connections run short, or cannot be accepted, once a minute at most.

use std::{io, mem, time::Duration};

use throttle_runtime::{RateLimit, Time};
use tracing::warn;

/// What happened since the log was told.
#[derive(Debug, Default)]
pub(super) struct ShortageLog {
    evicted: u64,
    refused: u64,
    log: RateLimit,
    not_accepted: u64,
    log_of_errors: RateLimit,
}

impl ShortageLog {
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

    /// The operating system could not hand over a connection.
    pub(super) fn not_accepted(&mut self, now: Time, error: &io::Error) {
        self.not_accepted += 1;
        if self.log_of_errors.admits(now, INTERVAL) {
            let times = mem::take(&mut self.not_accepted);
            warn!(%error, times, "cannot accept connections; is the limit of open files too low?");
        }
    }

    fn tell(&mut self, now: Time, open: usize, limit: usize) {
        if !self.log.admits(now, INTERVAL) {
            return;
        }
        let Self { evicted, refused, .. } = *self;
        warn!(
            open,
            limit, evicted, refused, "connections run short: those idle for longest are closed"
        );
        (self.evicted, self.refused) = (0, 0);
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
