//! Semaphores: their numbers, their holders and their queues.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, State},
    http::{Uri, request::Parts},
    response::Response,
};
use throttle_wire::Remainder;

use crate::{
    answer,
    api::Api,
    listing, percent,
    refusal::Refusal,
    worker_request::{RequestBody, WorkerRequest},
};

/// The name in `/semaphores/{name}`.
///
/// Not axum's `Path`, which accepts a `%` without two hexadecimal digits, and which also has the captures of an
/// application that nests our routes.
pub(crate) struct SemaphoreName(String);

/// `GET /semaphores`: the numbers of all semaphores, in the order of their names.
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    listing::semaphores(&api).await
}

/// `GET /semaphores/{name}`: the numbers of a semaphore, its holders, and its queue.
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    SemaphoreName(name): SemaphoreName,
) -> Result<Response, Refusal> {
    let overview = api.handle.overview(&name, listing::ENTRIES).await?;
    listing::semaphore(&api, overview).await
}

/// `GET /remainder?semaphore=A`: how much of a semaphore is free.
pub(crate) async fn remainder(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let Remainder { semaphore } = request.query()?;
    Ok(answer::json(&request.api.handle.remainder(&semaphore).await?))
}

impl SemaphoreName {
    /// The last segment of the path, decoded.
    pub(crate) fn in_path(uri: &Uri) -> Result<String, Refusal> {
        let segment = uri.path().rsplit('/').next().unwrap_or_default();
        percent::decode_segment(segment).map(Into::into)
    }
}

impl FromRequestParts<Arc<Api>> for SemaphoreName {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let name = Self::in_path(&head.uri)?;
        api.limits.check_name(&name)?;
        Ok(Self(name))
    }
}
