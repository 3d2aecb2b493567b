//! The log messages of reloads.
//!
//! Clients can ask for a reload as often as they like, so a message that only repeats the last one is limited in
//! rate: otherwise it could fill a disk.

use std::{fmt, mem, time::Duration};

use throttle_runtime::{Changes, Clock, RateLimit, Time};
use tracing::{info, warn};

use super::ReloadError;

/// What was logged last, to leave out repetitions.
#[derive(Debug)]
pub(super) struct ReloadLog {
    clock: Clock,
    refused: Repetitions,
    restart_needed: Repetitions,
}

impl ReloadLog {
    pub(super) fn new() -> Self {
        let (refused, restart_needed) = (Repetitions::default(), Repetitions::default());
        Self { clock: Clock::start(), refused, restart_needed }
    }

    /// Logs the next messages even if they are repetitions.
    pub(super) fn repeat_next(&mut self) {
        self.refused.limit = RateLimit::default();
        self.restart_needed.limit = RateLimit::default();
    }

    /// Logs that a reload was refused.
    pub(super) fn refused(&mut self, error: &ReloadError) {
        let error = error.to_string().replace('\n', "; ");
        if let Some(left_out) = self.refused.admits(self.clock.now(), &error) {
            warn!(target: TARGET, %error, left_out, "reload refused, nothing changed");
        }
    }

    /// Logs the options that changed and take a restart, if there are any.
    pub(super) fn restart_needed(&mut self, keys: &[String]) {
        if keys.is_empty() {
            return;
        }
        if let Some(left_out) = self.restart_needed.admits(self.clock.now(), &format!("{keys:?}")) {
            warn!(
                target: TARGET,
                ?keys,
                left_out,
                "these options take effect when the server is started again"
            );
        }
    }
}

/// Logs what a reload changed. A semaphore that is removed or retired can no longer be locked, so it is worth a warning.
pub(super) fn applied(changes: &Changes) {
    let Changes { added, changed, removed, retired, deferred } = changes;
    info!(
        target: TARGET,
        added = ?FirstOf(added),
        changed = ?FirstOf(changed),
        removed = ?FirstOf(removed),
        retired = ?FirstOf(retired),
        deferred = ?FirstOf(deferred),
        "configuration reloaded"
    );
    if !removed.is_empty() {
        let (count, names) = (removed.len(), FirstOf(removed));
        warn!(target: TARGET, count, ?names, "a reload removed semaphores");
    }
    if !retired.is_empty() {
        let (count, names) = (retired.len(), FirstOf(retired));
        warn!(
            target: TARGET,
            count,
            ?names,
            "a reload retired semaphores in use: their holders keep them, and nobody else is granted them"
        );
    }
    if !deferred.is_empty() {
        let (count, names) = (deferred.len(), FirstOf(deferred));
        warn!(
            target: TARGET,
            count,
            ?names,
            "the levels of semaphores in use change as soon as they are unused"
        );
    }
}

/// Admits a message if it is another one than the last, or if that was logged a while ago.
#[derive(Debug, Default)]
struct Repetitions {
    last: String,
    limit: RateLimit,
    left_out: u64,
}

impl Repetitions {
    /// How often the message was left out since it was last logged, if it is to be logged now.
    fn admits(&mut self, now: Time, message: &str) -> Option<u64> {
        if self.last != message {
            *self = Self { last: message.to_owned(), ..Self::default() };
        }
        if self.limit.admits(now, REPETITION_INTERVAL) {
            return Some(mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

/// Names for a log message: the first of them, and how many more there are.
struct FirstOf<'a>(&'a [String]);

impl fmt::Debug for FirstOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.0.split_at(self.0.len().min(MAX_NAMES));
        let mut list = f.debug_list();
        list.entries(first);
        if !rest.is_empty() {
            list.entry(&format_args!("and {} more", rest.len()));
        }
        list.finish()
    }
}

/// How long the same message is not logged again.
const REPETITION_INTERVAL: Duration = Duration::from_secs(10);
/// How many names a message has of each kind.
const MAX_NAMES: usize = 20;
/// Filters in configurations name this target.
const TARGET: &str = "throttle_server::reload";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_first_of_many_semaphores() {
        let names: Vec<_> = (1..=23).map(|number| number.to_string()).collect();
        assert_eq!(format!("{:?}", FirstOf(&names[..2])), r#"["1", "2"]"#);
        assert!(format!("{:?}", FirstOf(&names)).ends_with(r#""19", "20", and 3 more]"#));
    }

    #[test]
    fn the_same_message_is_logged_once_in_a_while_with_the_number_of_repetitions() {
        let mut repetitions = Repetitions::default();
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert_eq!(repetitions.admits(at(0), "one"), Some(0));
        assert_eq!((1..=9).find_map(|second| repetitions.admits(at(second), "one")), None);
        assert_eq!(repetitions.admits(at(10), "one"), Some(9));
        assert_eq!(repetitions.admits(at(10), "other"), Some(0), "it is another message");
    }
}
