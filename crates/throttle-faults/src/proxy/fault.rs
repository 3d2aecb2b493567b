//! Faults, and the rules that say which requests meet them.

use std::time::Duration;

use axum::http::{Method, StatusCode};

/// A fault on the way of a request to the server and back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// A gateway answers with this status and an HTML page. A redirect leads to the port without faults.
    Answer(StatusCode),
    /// The connection breaks after the server has processed the request, so the answer is lost.
    CutAnswer,
    /// The connection breaks before the request is delivered.
    CutRequest,
    /// The answer is delayed by this time.
    DelayAnswer(Duration),
    /// The request is delayed by this time, and delivered even if its client is gone by then.
    DelayRequest(Duration),
    /// The request is delivered at once, and a copy of it after this time.
    Duplicate(Duration),
    /// The request is neither delivered nor answered. The connection breaks when the rule is removed.
    Silence,
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestKind {
    /// Requests a lock, or waits for it.
    Acquire,
    /// Renews the lease of a peer.
    Heartbeat,
    /// Registers a peer.
    NewPeer,
    /// Any other request: listings, metrics, health.
    Other,
    /// Releases a held or a pending lock.
    Release,
    /// Removes a peer.
    RemovePeer,
    /// Restores a peer with its locks.
    Restore,
}

impl RequestKind {
    /// The kind of a request, from its method and path.
    pub fn of(method: &Method, path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let first = parts.next().unwrap_or_default();
        let has_semaphore = parts.nth(1).is_some();
        match (method.as_str(), first) {
            ("POST", "new_peer") => Self::NewPeer,
            ("POST", "restore") => Self::Restore,
            ("PUT", "peer" | "peers") if has_semaphore => Self::Acquire,
            ("PUT", "peer" | "peers") => Self::Heartbeat,
            ("DELETE", "peer" | "peers") if has_semaphore => Self::Release,
            ("DELETE", "peer" | "peers") => Self::RemovePeer,
            _ => Self::Other,
        }
    }
}

/// A fault, and the requests that meet it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    fault: Fault,
    /// If empty, all kinds match.
    kinds: Vec<RequestKind>,
    skip: usize,
    /// How many more requests meet the fault. `None`: no limit.
    left: Option<usize>,
}

impl Rule {
    /// Every request meets this fault.
    pub fn always(fault: Fault) -> Self {
        Self { fault, kinds: Vec::new(), skip: 0, left: None }
    }

    /// One request meets this fault.
    pub fn once(fault: Fault) -> Self {
        Self { left: Some(1), ..Self::always(fault) }
    }

    /// Restricts the rule to requests of these kinds.
    pub fn on(mut self, kinds: &[RequestKind]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// Lets the first matching requests pass.
    pub fn skip(mut self, number: usize) -> Self {
        self.skip = number;
        self
    }

    /// Limits the number of requests that meet the fault.
    pub fn times(mut self, number: usize) -> Self {
        self.left = Some(number);
        self
    }

    /// The fault for the next request, if it meets one. Counts the request.
    pub(crate) fn fault_for(&mut self, kind: RequestKind) -> Option<Fault> {
        if !self.kinds.is_empty() && !self.kinds.contains(&kind) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        match &mut self.left {
            None => Some(self.fault),
            Some(0) => None,
            Some(left) => {
                *left -= 1;
                Some(self.fault)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_request_follows_from_method_and_path() {
        let cases = [
            ("POST", "/new_peer", RequestKind::NewPeer),
            ("POST", "/restore", RequestKind::Restore),
            ("PUT", "/peers/7", RequestKind::Heartbeat),
            ("PUT", "/peer/7/A", RequestKind::Acquire),
            ("PUT", "/peers/7/is_acquired", RequestKind::Acquire),
            ("DELETE", "/peers/7/%2F&", RequestKind::Release),
            ("DELETE", "/peers/7", RequestKind::RemovePeer),
            ("GET", "/peers/7", RequestKind::Other),
            ("GET", "/", RequestKind::Other),
        ];
        for (method, path, kind) in cases {
            assert_eq!(RequestKind::of(&method.parse().unwrap(), path), kind, "{method} {path}");
        }
    }

    #[test]
    fn a_rule_skips_some_requests_and_applies_to_a_limited_number() {
        let mut rule = Rule::always(Fault::CutAnswer).on(&[RequestKind::Acquire]).skip(1).times(2);
        let kinds = [
            RequestKind::Acquire,
            RequestKind::Release,
            RequestKind::Acquire,
            RequestKind::Acquire,
            RequestKind::Acquire,
        ];
        let met = kinds.map(|kind| rule.fault_for(kind).is_some());
        assert_eq!(met, [false, false, true, true, false]);
    }
}
