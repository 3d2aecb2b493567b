//! The time from the head of a request to the head of its answer.

use std::fmt::Write as _;

use throttle_runtime::Time;

use super::{histogram::Histogram, semaphore_families::write_histogram};

/// The kinds of requests that take similar times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RequestGroup {
    /// A lock request that is answered at once.
    Acquire,
    /// The question whether a lock is held under a fencing token.
    Fencing,
    /// A heartbeat.
    Heartbeat,
    /// A list of peers or semaphores.
    List,
    /// A request of an operator: health, metrics, a reload.
    Operate,
    /// Any other request about one peer or semaphore.
    Peer,
    /// The release of a lock.
    Release,
    /// A lock request whose answer may wait for the grant.
    Wait,
}

/// A histogram for each group.
#[derive(Debug)]
pub(super) struct RequestDurations([Histogram; GROUPS.len()]);

/// Values of the label `group`, sorted, in the order of the variants.
const GROUPS: [&str; 8] =
    ["acquire", "fencing", "heartbeat", "list", "operate", "peer", "release", "wait"];

/// In seconds, from the duration of a quick request to that of a long wait.
const BOUNDS: &[f64] =
    &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 60.0, 600.0];

const NAME: &str = "throttle_http_request_duration_seconds";

impl RequestDurations {
    pub(super) fn new() -> Self {
        Self(GROUPS.map(|_| Histogram::new(BOUNDS)))
    }

    pub(super) fn record(&self, group: RequestGroup, begin: Time, end: Time) {
        self.0[group as usize].record(end - begin);
    }

    /// Writes all histograms, as an exporter does.
    pub(super) fn write(&self, text: &mut String) {
        let help = "Time from the head of a request to that of its answer, by what it is about.";
        write!(text, "# HELP {NAME} {help}\n# TYPE {NAME} histogram\n")
            .expect("a string takes everything");
        let bounds: Vec<_> = BOUNDS.iter().map(f64::to_string).collect();
        for (group, histogram) in GROUPS.iter().zip(&self.0) {
            let labels = format!("{{group=\"{group}\"");
            write_histogram(text, NAME, &labels, &bounds, Some(histogram));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_names() {
        assert_eq!(GROUPS[RequestGroup::Fencing as usize], "fencing");
        assert_eq!(GROUPS[RequestGroup::Wait as usize], "wait");
        assert!(GROUPS.is_sorted());
    }
}
