//! What the metrics are called, and what they are.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};

/// Names that dashboards know from the system before this one.
pub(super) const ACQUIRED: &str = "throttle_acquired";
pub(super) const LONGEST_PENDING: &str = "throttle_longest_pending_sec";
pub(super) const MAX: &str = "throttle_max";
pub(super) const NOT_FOUND: &str = "throttle_num_404";
pub(super) const PENDING: &str = "throttle_pending";

pub(super) const CANCELLED: &str = "throttle_cancelled_total";
pub(super) const EXPIRED_PEERS: &str = "throttle_expired_peers_total";
pub(super) const GRANTS: &str = "throttle_grants_total";
pub(super) const HOLD: &str = "throttle_hold_seconds";
pub(super) const PEERS: &str = "throttle_peers";
pub(super) const REFUSALS: &str = "throttle_refusals_total";
pub(super) const REQUESTS: &str = "throttle_http_requests_total";
pub(super) const RESTORED_PEERS: &str = "throttle_restored_peers_total";
pub(super) const WAIT: &str = "throttle_wait_seconds";

/// Tells `recorder` what each of them is.
pub(super) fn describe(recorder: &dyn Recorder) {
    let gauges = [
        (ACQUIRED, "Sum of all acquired locks."),
        (
            LONGEST_PENDING,
            "Time the longest pending peer is waiting until now, to acquire a lock to a semaphore.",
        ),
        (MAX, "Maximum allowed lock count for this semaphore."),
        (PEERS, "Number of peers."),
        (PENDING, "Sum of all pending locks"),
    ];
    let counters = [
        (CANCELLED, "Pending locks that were given up, by cause."),
        (
            EXPIRED_PEERS,
            "Peers whose lease ended without a sign of life, and whether they held a lock.",
        ),
        (GRANTS, "Locks that were granted, at once or after waiting."),
        (NOT_FOUND, "Number of Get requests to unknown resource."),
        (REFUSALS, "Requests answered with an error, by its code."),
        (REQUESTS, "Requests answered, by route, method and status."),
        (RESTORED_PEERS, "Peers that came back with the locks they hold."),
    ];
    let histograms = [
        (HOLD, "Time that locks were held."),
        (WAIT, "Time that locks were pending before they became held; zero if at once."),
    ];
    for (name, help) in gauges {
        recorder.describe_gauge(name.into(), None, help.into());
    }
    for (name, help) in counters {
        recorder.describe_counter(name.into(), None, help.into());
    }
    for (name, help) in histograms {
        recorder.describe_histogram(name.into(), None, help.into());
    }
}

pub(super) fn counter(recorder: &dyn Recorder, key: Key) -> Counter {
    recorder.register_counter(&key, &METADATA)
}

pub(super) fn gauge(recorder: &dyn Recorder, key: Key) -> Gauge {
    recorder.register_gauge(&key, &METADATA)
}

pub(super) fn histogram(recorder: &dyn Recorder, key: Key) -> Histogram {
    recorder.register_histogram(&key, &METADATA)
}

/// The label that says which semaphore. It is always the first.
pub(super) fn semaphore(name: &str) -> Label {
    // The exporter takes a backslash for one that escapes if it can, and newlines as they are.
    Label::new("semaphore", name.replace('\\', r"\\").replace('"', "\\\""))
}

const METADATA: Metadata<'_> = Metadata::new("throttle", Level::INFO, None);
