//! A request on its way to the handler of a worker's route: path, query and body, read with errors in our
//! own words. What they must contain is decided in `extractors`.

use std::{borrow::Cow, mem, pin::pin};

use axum::{
    body::{Bytes, HttpBody},
    http::{HeaderMap, header, request::Parts},
};
use bytes::BytesMut;
use futures_util::future;
use throttle_wire::Code;

use crate::{RequestLimits, api::Api, percent, refusal::Refusal};

/// The variable segments of a path, still percent-encoded; empty if the route has none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Captures<'a> {
    /// The id of a peer.
    pub(crate) id: &'a str,
    pub(crate) semaphore: &'a str,
    /// A fencing token.
    pub(crate) token: &'a str,
}

/// A request to a worker's route.
///
/// A handler reads the path first, then the query, then the body. Reading the body consumes the request, so
/// a handler that waits for a lock keeps nothing of what was read from the socket.
#[derive(Debug)]
pub(crate) struct WorkerRequest<'a, B> {
    pub(crate) api: &'a Api,
    /// In a box, because a future that passes it on to another future reserves room in both.
    pub(crate) head: Box<Parts>,
    pub(crate) captures: Captures<'a>,
    pub(crate) body: B,
}

/// A body, whichever type the server has for it.
pub(crate) trait RequestBody: HttpBody<Data = Bytes> + Send {}

impl<B: HttpBody<Data = Bytes> + Send> RequestBody for B {}

/// A value that is read from a path.
pub(crate) trait FromPath<'a>: Sized {
    fn from_path(captures: Captures<'a>, limits: &RequestLimits) -> Result<Self, Refusal>;
}

/// A value that is read from a query string.
pub(crate) trait FromQuery: Sized {
    fn from_query(parameters: &Parameters<'_>, limits: &RequestLimits) -> Result<Self, Refusal>;
}

/// A value that is read from a body of JSON.
pub(crate) trait FromJson: Sized {
    fn from_json(body: &[u8], limits: &RequestLimits) -> Result<Self, Refusal>;
}

impl<'a, B: RequestBody> WorkerRequest<'a, B> {
    pub(crate) fn path<T: FromPath<'a>>(&self) -> Result<T, Refusal> {
        T::from_path(self.captures, &self.api.limits)
    }

    pub(crate) fn query<T: FromQuery>(&self) -> Result<T, Refusal> {
        let parameters = Parameters::parse(self.head.uri.query().unwrap_or_default())?;
        T::from_query(&parameters, &self.api.limits)
    }

    pub(crate) async fn json<T: FromJson>(self) -> Result<T, Refusal> {
        if !declares_json(&self.head.headers) {
            return Err(Refusal::new(
                Code::UnsupportedMediaType,
                "The body must be JSON, declared by the header `Content-Type: application/json`.",
            ));
        }
        let body = read(self.body, &self.api.limits).await?;
        T::from_json(&body, &self.api.limits)
    }
}

/// Names and values of a query string, decoded, in the order of the string.
#[derive(Debug)]
pub(crate) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    pub(crate) fn parse(query: &'a str) -> Result<Self, Refusal> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The parameter of this name, if there is one. Two of the same name are refused.
    pub(crate) fn find(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut found = self.0.iter().filter(|(parameter, _)| parameter == name);
        match (found.next(), found.next()) {
            (_, Some(_)) => {
                let detail = format!("The query string has `{name}` twice.");
                Err(Refusal::new(Code::MalformedQuery, detail))
            }
            (found, None) => Ok(found.map(|(_, value)| &**value)),
        }
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    let malformed = || {
        let detail = "The query string is not percent-encoded UTF-8.";
        Refusal::new(Code::MalformedQuery, detail)
    };
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent::decode(&spaced).ok_or_else(malformed)?;
        return Ok(decoded.into_owned().into());
    }
    percent::decode(text).ok_or_else(malformed)
}

/// Whether the body is declared as `application/json`, or as a type with the suffix `+json`.
fn declares_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let declared = declared.unwrap_or_default();
    if declared == "application/json" {
        return true;
    }
    let (media_type, _) = declared.split_once(';').unwrap_or((declared, ""));
    let Some((kind, subtype)) = media_type.trim().split_once('/') else { return false };
    let suffix = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
    kind.eq_ignore_ascii_case("application") && suffix.eq_ignore_ascii_case("json")
}

/// The whole body, unless it is larger than the limit. If the announced length is, nothing is read.
async fn read(body: impl RequestBody, limits: &RequestLimits) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().lower();
    limits.check_body(announced)?;
    let announced = usize::try_from(announced).expect("the length is at most the limit");
    let mut body = pin!(body);
    // Nearly all bodies arrive in one piece, which is not copied.
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| {
            Refusal::new(Code::MalformedBody, "The body could not be read to its end.")
        })?;
        // The other kind of frame is trailers.
        let Ok(piece) = frame.into_data() else { continue };
        limits.check_body((first.len().max(joined.len()) + piece.len()) as u64)?;
        if first.is_empty() && joined.is_empty() {
            first = piece;
        } else {
            if joined.is_empty() {
                // The announced length is that of the whole body, so the buffer need not grow. The first
                // piece is dropped, because it keeps alive the buffer that it was read into.
                joined.reserve(announced.max(first.len() + piece.len()));
                joined.extend_from_slice(&mem::take(&mut first));
            }
            joined.extend_from_slice(&piece);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}
