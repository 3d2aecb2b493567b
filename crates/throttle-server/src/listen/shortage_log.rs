//! Log messages about a shortage of connections: of each kind one a minute at most.

use std::{io, mem, time::Duration};

use throttle_runtime::{RateLimit, Time};
use tracing::warn;

/// What has happened since the last message.
#[derive(Debug, Default)]
pub(super) struct ShortageLog {
    evicted: u64,
    refused: u64,
    shortage: RateLimit,
    not_accepted: u64,
    errors: RateLimit,
}

impl ShortageLog {
    /// Notes that a connection was closed in favour of another one, while `open` were open.
    pub(super) fn evicted(&mut self, now: Time, open: usize, limit: usize) {
        self.evicted += 1;
        self.report(now, open, limit);
    }

    /// Notes that a connection was answered 503.
    pub(super) fn refused(&mut self, now: Time, open: usize, limit: usize) {
        self.refused += 1;
        self.report(now, open, limit);
    }

    /// Notes that the operating system could not hand over a connection.
    pub(super) fn not_accepted(&mut self, now: Time, error: &io::Error) {
        self.not_accepted += 1;
        if self.errors.admits(now, INTERVAL) {
            let times = mem::take(&mut self.not_accepted);
            warn!(%error, times, "cannot accept connections; is the limit of open files too low?");
        }
    }

    fn report(&mut self, now: Time, open: usize, limit: usize) {
        if !self.shortage.admits(now, INTERVAL) {
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
