//! The counters of requests, by route, method and status.

use std::sync::{Arc, OnceLock};

use axum::http::StatusCode;
use metrics::{Counter, Key, Label, Recorder};
use throttle_wire::Code;

use super::counters;
use crate::{observed::RouteLabel, worker_routes::WorkerRoute};

/// Counters that are made when they are first needed: most combinations of labels never are.
pub(super) struct RequestCounters {
    recorder: Arc<dyn Recorder + Send + Sync>,
    /// Of the workers' routes, which are too busy to look up a counter for each request.
    by_worker_route: Vec<OnceLock<Counter>>,
}

impl RequestCounters {
    pub(super) fn new(recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        let combinations = WorkerRoute::ALL.len() * METHODS.len() * STATUSES.len();
        let by_worker_route = (0..combinations).map(|_| OnceLock::new()).collect();
        Self { recorder, by_worker_route }
    }

    /// Counts a request that was answered.
    pub(super) fn increment(&self, route: RouteLabel, method: &str, status: StatusCode) {
        debug_assert!(has_label(status.as_u16()), "add {status} to STATUSES");
        let method = METHODS.iter().position(|it| *it == method).unwrap_or(0);
        let status = STATUSES.iter().position(|it| *it == status.as_u16()).unwrap_or(0);
        let counter = || {
            let status = match STATUSES[status] {
                OTHER => "other".to_owned(),
                status => status.to_string(),
            };
            let labels = vec![
                Label::new("route", route.name),
                Label::new("method", METHODS[method]),
                Label::new("status", status),
            ];
            counters::register(&*self.recorder, Key::from_parts(counters::REQUESTS, labels))
        };
        match route.worker {
            Some(worker) => {
                let index = (worker as usize * METHODS.len() + method) * STATUSES.len() + status;
                self.by_worker_route[index].get_or_init(counter).increment(1);
            }
            // The recorder finds the counter by its labels, which takes about a microsecond.
            None => counter().increment(1),
        }
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
