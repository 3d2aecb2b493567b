//! Extractors of our own, so that no error is in somebody else's words: what it takes to get at the
//! path, the query and the body. What they must say is left to `request`.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use percent_encoding::percent_decode_str;
use throttle_wire::Code;

use crate::{Limits, api::Api, json::Value, refusal::Refusal};

/// What the path says.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

/// What the query string says.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// What the body says, in JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// Something that a path can say.
pub(crate) trait FromPath: Sized {
    fn from_path(captures: &Captures, limits: &Limits) -> Result<Self, Refusal>;
}

/// Something that a query string can say.
pub(crate) trait FromQuery: Sized {
    fn from_query(parameters: &Parameters<'_>, limits: &Limits) -> Result<Self, Refusal>;
}

/// Something that a body can say.
pub(crate) trait FromJson: Sized {
    fn from_json(body: Value<'_>, limits: &Limits) -> Result<Self, Refusal>;
}

impl<T: FromPath> FromRequestParts<Arc<Api>> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        T::from_path(&Captures::from_request_parts(parts, api).await?, &api.limits).map(Self)
    }
}

impl<T: FromQuery> FromRequestParts<Arc<Api>> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let parameters = Parameters::parse(parts.uri.query().unwrap_or_default())?;
        T::from_query(&parameters, &api.limits).map(Self)
    }
}

impl<T: FromJson> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Refusal> {
        if !declares_json(request.headers()) {
            return Err(Refusal::new(
                Code::UnsupportedMediaType,
                "The body must be JSON, declared by the header `Content-Type: application/json`.",
            ));
        }
        let body = read(request.into_body(), api.limits.body).await?;
        T::from_json(Value::parse(&body)?, &api.limits).map(Self)
    }
}

/// The variable parts of a path by their names in the route, percent-decoded once.
#[derive(Debug)]
pub(crate) struct Captures(RawPathParams);

impl Captures {
    /// The part of this name. An application that nests our routes may have parts of its own, to the
    /// left of ours.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().filter(|&(capture, _)| capture == name).last().map(|(_, text)| text)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Captures {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        RawPathParams::from_request_parts(parts, state).await.map(Self).map_err(|_| {
            Refusal::new(Code::MalformedPath, "The path is not percent-encoded UTF-8.")
        })
    }
}

/// Names and values of a query string, decoded, in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    fn parse(query: &'a str) -> Result<Self, Refusal> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The parameter of this name, if there is one.
    ///
    /// Two of them are refused rather than one of them ignored.
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
    let malformed = |_| {
        let detail = "The query string is not percent-encoded UTF-8.";
        Refusal::new(Code::MalformedQuery, detail)
    };
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(malformed)?;
        return Ok(decoded.into_owned().into());
    }
    percent_decode_str(text).decode_utf8().map_err(malformed)
}

/// Whether the body is declared as `application/json`, or as a type with the suffix `+json`.
fn declares_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let declared = declared.unwrap_or_default();
    let (media_type, _) = declared.split_once(';').unwrap_or((declared, ""));
    let media_type = media_type.trim().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// The whole body, unless it is larger than `limit`. One that announces to be is not read at all.
async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let too_large =
        || Refusal::new(Code::BodyTooLarge, format!("The body has at most {limit} bytes."));
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            Refusal::new(Code::MalformedBody, "The body could not be read to its end.")
        })?;
        if whole.len() + chunk.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
