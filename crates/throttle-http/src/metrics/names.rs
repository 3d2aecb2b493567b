//! What the metrics of the whole server are called, and what they are.

use metrics::{Counter, Gauge, Key, Level, Metadata, Recorder};

/// A name that dashboards know from the system before this one.
pub(super) const NOT_FOUND: &str = "throttle_num_404";

pub(super) const EXPIRED_HOLDERS: &str = "throttle_expired_holders_total";
pub(super) const EXPIRED_PEERS: &str = "throttle_expired_peers_total";
pub(super) const OPEN_WAITS: &str = "throttle_open_waits";
pub(super) const OPEN_WAITS_LIMIT: &str = "throttle_open_waits_limit";
pub(super) const PEERS: &str = "throttle_peers";
pub(super) const REFUSALS: &str = "throttle_refusals_total";
pub(super) const REQUESTS: &str = "throttle_http_requests_total";
pub(super) const RESTORED_PEERS: &str = "throttle_restored_peers_total";
pub(super) const STALLED: &str = "throttle_stalled_seconds_total";
pub(super) const STALLS: &str = "throttle_stalls_total";
pub(super) const WAITS_CUT_SHORT: &str = "throttle_waits_cut_short_total";

/// Tells `recorder` what each of them is.
pub(super) fn describe(recorder: &dyn Recorder) {
    let gauges = [
        (OPEN_WAITS, "Number of requests that wait for a lock."),
        (OPEN_WAITS_LIMIT, "Number of requests that may wait for as long as they want."),
        (PEERS, "Number of peers."),
    ];
    for (name, help) in gauges {
        recorder.describe_gauge(name.into(), None, help.into());
    }
    let counters = [
        (EXPIRED_HOLDERS, "Peers whose lease ended while they held locks."),
        (EXPIRED_PEERS, "Peers whose lease ended without a sign of life."),
        (NOT_FOUND, "Number of Get requests to unknown resource."),
        (REFUSALS, "Requests answered with an error, by its code."),
        (REQUESTS, "Requests answered, by route, method and status."),
        (RESTORED_PEERS, "Peers that came back with the locks they hold."),
        (STALLED, "Time in which the server stood still, which no lease was charged with."),
        (STALLS, "Times that the server stood still for more than a second."),
        (
            WAITS_CUT_SHORT,
            "Requests that had to wait for a lock beyond the limit of those that do.",
        ),
    ];
    for (name, help) in counters {
        recorder.describe_counter(name.into(), None, help.into());
    }
}

pub(super) fn counter(recorder: &dyn Recorder, key: Key) -> Counter {
    recorder.register_counter(&key, &METADATA)
}

pub(super) fn gauge(recorder: &dyn Recorder, key: Key) -> Gauge {
    recorder.register_gauge(&key, &METADATA)
}

const METADATA: Metadata<'_> = Metadata::new("throttle", Level::INFO, None);
