//! What can happen to a request, and to which requests it happens.

use std::time::Duration;

use axum::http::{Method, StatusCode};

/// What happens to a request on its way to the server and back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Whatever stands between answers with this status and a page of HTML. A redirect leads to the
    /// second address of the proxy, where no rules apply.
    Answer(StatusCode),
    /// The connection breaks after the server has done what was asked: its answer is lost.
    CutAnswer,
    /// The connection breaks before the request is delivered.
    CutRequest,
    /// The answer is held back for this time.
    DelayAnswer(Duration),
    /// The request is delivered after this time, also if its client is gone by then.
    DelayRequest(Duration),
    /// The request is delivered at once, and a copy of it after this time.
    Duplicate(Duration),
    /// Nothing happens until the rule is removed. Then the connection breaks.
    Silence,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestKind {
    /// A lock, or to wait for it.
    Acquire,
    /// A longer life for a peer.
    Heartbeat,
    /// A new peer.
    NewPeer,
    /// Anything else: lists, metrics, health.
    Other,
    /// To give a lock back, or to leave the queue.
    Release,
    /// The end of a peer.
    RemovePeer,
    /// A peer that comes back with what it holds.
    Restore,
}

impl RequestKind {
    /// What a request asks for, by its method and its path.
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
    /// Empty: all.
    kinds: Vec<RequestKind>,
    skip: usize,
    /// `None`: until the rule is removed.
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

    /// Only requests of these kinds count.
    pub fn on(mut self, kinds: &[RequestKind]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// The first requests pass.
    pub fn skip(mut self, number: usize) -> Self {
        self.skip = number;
        self
    }

    /// Only so many requests meet the fault.
    pub fn times(mut self, number: usize) -> Self {
        self.left = Some(number);
        self
    }

    /// The fault that a request meets now, if any.
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
    fn requests_are_told_apart_by_method_and_path() {
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
    fn a_rule_skips_strikes_and_is_done() {
        let mut rule = Rule::always(Fault::CutAnswer).on(&[RequestKind::Acquire]).skip(1).times(2);
        let kinds = [
            RequestKind::Acquire,
            RequestKind::Release,
            RequestKind::Acquire,
            RequestKind::Acquire,
            RequestKind::Acquire,
        ];
        let struck = kinds.map(|kind| rule.fault_for(kind).is_some());
        assert_eq!(struck, [false, false, true, true, false]);
    }
}
