//! Requests that no route is asked for, because HTTP does not allow them. A server finds that out while
//! it reads from the socket; what it answers stands here, with the other errors.

use axum::{
    http::{Request, Version, header, request::Parts},
    response::Response,
};
use throttle_wire::{Code, PROBLEM_JSON};

use crate::{Endpoint, accept_header, refusal::Refusal, worker_routes::Route};

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
    /// What is wrong with the head of a request, if anything is. It has at most `limit` bytes.
    ///
    /// A server may have read more than its limit before it notices that the head is complete.
    pub fn find<B>(request: &Request<B>, limit: usize) -> Option<Self> {
        let hosts = request.headers().get_all(header::HOST).iter().count();
        if head_length(request) > limit {
            Some(Self::HeadTooLarge)
        } else if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            Some(Self::Host)
        } else {
            None
        }
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

/// How many bytes the head of a request has, without optional white space.
fn head_length<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n".len();
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + fields.sum::<usize>() + "\r\n".len()
}

impl Endpoint {
    /// Counts a request that a server found malformed, and returns the answer to it. Its head, if it could
    /// be read, says in which form.
    pub fn refuse(&self, malformed: Malformed, head: Option<&Parts>) -> Response {
        let api = self.api();
        let refusal = malformed.refusal();
        let code = refusal.code();
        let is_problem =
            head.is_some_and(|head| accept_header::prefers(&head.headers, PROBLEM_JSON));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_head_counts_its_line_and_all_fields() {
        let text = "PUT /peers/1/A?x=1 HTTP/1.1\r\nhost: a\r\nb: 1\r\nb: 2\r\n\r\n";
        let request = Request::put("/peers/1/A?x=1").header("host", "a");
        let request = request.header("b", "1").header("b", "2").body(()).unwrap();
        assert_eq!(head_length(&request), text.len());
        assert_eq!(Malformed::find(&request, text.len()), None);
        assert_eq!(Malformed::find(&request, text.len() - 1), Some(Malformed::HeadTooLarge));
    }
}
