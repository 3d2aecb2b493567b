//! How long requests take until the head of their answer is there.

use std::fmt::Write as _;

use axum::http::{Method, Uri};
use throttle_runtime::Time;

use super::{families::write_histogram, histogram::Histogram};
use crate::worker_routes::WorkerRoute;

/// What a request is about, as far as it matters for how long it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Group {
    /// A lock is asked for, and the answer comes at once.
    Acquire,
    /// A heartbeat.
    Heartbeat,
    /// Several peers or semaphores are looked at.
    List,
    /// The service is asked how it is, or told to change.
    Operate,
    /// Anything else that is about a single peer or semaphore.
    Peer,
    /// A lock is given back.
    Release,
    /// A lock is asked for, and the answer may wait for it.
    Wait,
}

/// A histogram for each group.
#[derive(Debug)]
pub(super) struct Durations([Histogram; GROUPS.len()]);

/// Values of the label `group`, sorted, in the order of the variants.
const GROUPS: [&str; 7] = ["acquire", "heartbeat", "list", "operate", "peer", "release", "wait"];

/// From what most requests take to what a wait may take.
const BOUNDS: &[f64] =
    &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 60.0, 600.0];

const NAME: &str = "throttle_http_request_duration_seconds";

impl Group {
    /// The group of a request to a worker's route.
    pub(crate) fn of(route: WorkerRoute, method: &Method, uri: &Uri) -> Self {
        match route {
            WorkerRoute::IsAcquired | WorkerRoute::Lock if method == Method::PUT => {
                let query = uri.query().unwrap_or_default();
                if query.contains("block_for=") { Self::Wait } else { Self::Acquire }
            }
            WorkerRoute::IsAcquired | WorkerRoute::Lock if method == Method::DELETE => {
                Self::Release
            }
            WorkerRoute::Peer if method == Method::PUT => Self::Heartbeat,
            WorkerRoute::IsAcquired
            | WorkerRoute::Lock
            | WorkerRoute::NewPeer
            | WorkerRoute::Peer
            | WorkerRoute::Remainder
            | WorkerRoute::Restore => Self::Peer,
        }
    }
}

impl Durations {
    pub(super) fn new() -> Self {
        Self(GROUPS.map(|_| Histogram::new(BOUNDS)))
    }

    pub(super) fn record(&self, group: Group, begin: Time, end: Time) {
        self.0[group as usize].record(end - begin);
    }

    /// Writes all of them, as an exporter does.
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
        assert_eq!(GROUPS[Group::Wait as usize], "wait");
        assert!(GROUPS.is_sorted());
    }

    #[test]
    fn an_acquire_that_may_wait_is_told_apart_from_one_that_is_answered_at_once() {
        let group = |path: &'static str| {
            let uri = Uri::from_static(path);
            let (route, _) = WorkerRoute::find(uri.path()).unwrap();
            GROUPS[Group::of(route, &Method::PUT, &uri) as usize]
        };
        assert_eq!(group("/peers/5/A"), "acquire");
        assert_eq!(group("/peers/5/is_acquired?expires_in=1m"), "acquire");
        assert_eq!(group("/peers/5/A?expires_in=1m&block_for=10s"), "wait");
        assert_eq!(group("/peers/5"), "heartbeat");
    }
}
