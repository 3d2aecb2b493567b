//! What the metrics are called that are counted as things happen in the whole server.

use metrics::{Counter, Key, Level, Metadata, Recorder};

/// A name that dashboards know from the system before this one.
pub(super) const NOT_FOUND: &str = "throttle_num_404";

pub(super) const EXPIRED_HOLDERS: &str = "throttle_expired_holders_total";
pub(super) const EXPIRED_PEERS: &str = "throttle_expired_peers_total";
pub(super) const REFUSALS: &str = "throttle_refusals_total";
pub(super) const REQUESTS: &str = "throttle_http_requests_total";
pub(super) const RESTORED_PEERS: &str = "throttle_restored_peers_total";

/// Tells `recorder` what each of them is.
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
