//! Requests that break the rules of HTTP, so that no handler gets them. The server notices it while it reads
//! from the socket; the errors are here, with those of handlers.

use axum::http::{Request, Version, header};
use throttle_wire::Code;

use crate::refusal::Refusal;

/// Which rule of HTTP a request breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// Its head is larger than the server allows.
    HeadTooLarge,
    /// It is HTTP/1.1 and has not exactly one header `Host`.
    Host,
    /// It is not HTTP/1, or breaks its rules.
    Request,
}

impl Malformed {
    /// Checks the head of a request, which may have `limit` bytes.
    ///
    /// A server may have read more than that before it notices that the head is complete.
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

    pub(crate) fn refusal(self) -> Refusal {
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

/// The length of the head in bytes, without optional white space.
fn head_length<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n".len();
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + fields.sum::<usize>() + "\r\n".len()
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
