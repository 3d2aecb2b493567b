//! Requests that no route is asked for, because HTTP does not allow them. A server finds that out while
//! it reads from the socket; what it answers stands here, with the other errors.

use axum::{
    http::{HeaderMap, Version, header, request::Parts},
    response::Response,
};
use throttle_wire::{Code, PROBLEM_JSON};

use crate::{Endpoint, accept, refusal::Refusal, routes::Route};

/// What is wrong with a request whatever it asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// Its head is larger than the server allows.
    HeadTooLarge,
    /// It is HTTP/1.1 and does not say once, and once only, in the header `Host`, which host it asks.
    Host,
    /// It is not HTTP/1, or breaks its rules.
    Request,
}

impl Malformed {
    /// What is wrong with this head, if anything is.
    pub fn find(version: Version, headers: &HeaderMap) -> Option<Self> {
        let hosts = headers.get_all(header::HOST).iter().count();
        let is_wrong = hosts > 1 || (hosts == 0 && version == Version::HTTP_11);
        is_wrong.then_some(Self::Host)
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::HeadTooLarge => {
                Refusal::new(Code::HeadTooLarge, "The head of the request is too large.")
            }
            Self::Host => Refusal::new(
                Code::MalformedRequest,
                "An HTTP/1.1 request needs the header `Host`, and no more than one.",
            ),
            Self::Request => {
                Refusal::new(Code::MalformedRequest, "This is no valid HTTP/1.1 request.")
            }
        }
    }
}

impl Endpoint {
    /// Counts a request that a server found malformed, and returns the answer to it. Its head, if it could
    /// be read, says in which form.
    pub fn refuse(&self, malformed: Malformed, head: Option<&Parts>) -> Response {
        let api = self.api();
        let refusal = malformed.refusal();
        let code = refusal.code();
        let is_problem = head.is_some_and(|head| accept::prefers(&head.headers, PROBLEM_JSON));
        let response = refusal.into_response(is_problem, api.handle.uptime());
        if let Some(metrics) = &api.metrics {
            let (route, method) = match head {
                Some(head) => (Route::find(head.uri.path()).0, head.method.as_str()),
                None => (Route::Unknown, "other"),
            };
            metrics.count(None, (route, method), response.status(), Some(code));
        }
        response
    }
}
