//! The counters of requests, by route, method and status.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use axum::http::StatusCode;
use metrics::{Counter, Key, Label, Recorder};
use throttle_wire::Code;

use super::counters;

/// The counters of the requests to one route, by method and status.
///
/// Each is registered when it is first needed, because most combinations never are.
pub(crate) struct RouteCounters {
    recorder: Arc<dyn Recorder + Send + Sync>,
    route: &'static str,
    counters: Vec<OnceLock<Counter>>,
}

impl RouteCounters {
    pub(super) fn new(recorder: Arc<dyn Recorder + Send + Sync>, route: &'static str) -> Self {
        let combinations = METHODS.len() * STATUSES.len();
        let counters = (0..combinations).map(|_| OnceLock::new()).collect();
        Self { recorder, route, counters }
    }

    /// Counts a request that was answered.
    pub(super) fn increment(&self, method: &str, status: StatusCode) {
        debug_assert!(has_label(status.as_u16()), "add {status} to STATUSES");
        let method = METHODS.iter().position(|it| *it == method).unwrap_or(0);
        let status = STATUSES.iter().position(|it| *it == status.as_u16()).unwrap_or(0);
        let counter = self.counters[method * STATUSES.len() + status].get_or_init(|| {
            let status = match STATUSES[status] {
                OTHER => "other".to_owned(),
                status => status.to_string(),
            };
            let labels = vec![
                Label::new("route", self.route),
                Label::new("method", METHODS[method]),
                Label::new("status", status),
            ];
            counters::register(&*self.recorder, Key::from_parts(counters::REQUESTS, labels))
        });
        counter.increment(1);
    }
}

impl fmt::Debug for RouteCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteCounters").field("route", &self.route).finish_non_exhaustive()
    }
}

/// Values of the label `method`. The first stands for all others.
const METHODS: &[&str] = &["other", "DELETE", "GET", "HEAD", "POST", "PUT"];

/// Values of the label `status`. The first would stand for all others, but there are none.
const STATUSES: &[u16] =
    &[OTHER, 200, 202, 400, 403, 404, 405, 409, 413, 415, 422, 429, 431, 500, 503];

/// No status.
const OTHER: u16 = 0;

const _: () = {
    let mut index = 0;
    while index < Code::ALL.len() {
        assert!(has_label(Code::ALL[index].status()), "add the status of a new code to STATUSES");
        index += 1;
    }
};

/// Whether the status is among [`STATUSES`].
const fn has_label(status: u16) -> bool {
    let mut index = 0;
    while index < STATUSES.len() {
        if STATUSES[index] == status {
            return true;
        }
        index += 1;
    }
    false
}
