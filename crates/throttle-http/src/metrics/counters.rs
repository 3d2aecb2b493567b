//! The counters of the whole server, which the recorder keeps.

use metrics::{Counter, Key, Level, Metadata, Recorder};

/// Dashboards of version 0.5 use this name.
pub(super) const NOT_FOUND: &str = "throttle_num_404";

pub(super) const EXPIRED_HOLDERS: &str = "throttle_expired_holders_total";
pub(super) const EXPIRED_PEERS: &str = "throttle_expired_peers_total";
pub(super) const REFUSALS: &str = "throttle_refusals_total";
pub(super) const REQUESTS: &str = "throttle_http_requests_total";
pub(super) const RESTORED_PEERS: &str = "throttle_restored_peers_total";

/// Registers the help of each counter.
pub(super) fn describe(recorder: &dyn Recorder) {
    let counters = [
        (EXPIRED_HOLDERS, "Peers whose lease ended while they held locks."),
        (EXPIRED_PEERS, "Peers whose lease ended without a sign of life."),
        (NOT_FOUND, "Number of Get requests to unknown resource."),
        (REFUSALS, "Requests answered with an error, by its code."),
        (REQUESTS, "Requests answered, by route, method and status."),
        (RESTORED_PEERS, "Peers that came back with the locks they hold."),
    ];
    for (name, help) in counters {
        recorder.describe_counter(name.into(), None, help.into());
    }
}

pub(super) fn register(recorder: &dyn Recorder, key: Key) -> Counter {
    recorder.register_counter(&key, &METADATA)
}

const METADATA: Metadata<'_> = Metadata::new("throttle", Level::INFO, None);
