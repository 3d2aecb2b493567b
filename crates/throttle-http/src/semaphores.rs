//! Semaphores: their numbers, their holders and their queues.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, State},
    http::{Uri, request::Parts},
    response::Response,
};
use throttle_wire::{Code, HeldGrant, Remainder};

use crate::{
    answer,
    api::Api,
    extractors::FencingPath,
    listing, percent,
    refusal::Refusal,
    view,
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

/// `GET /semaphores/{name}/fencing/{token}`: who holds the lock that was granted under this token, if it is held at
/// this moment.
///
/// A resource asks this before it accepts a write, so the answer takes no longer for a semaphore with many holders.
pub(crate) async fn fencing(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let FencingPath { semaphore, token } = request.path()?;
    let holder = match token {
        Some(token) => handle.fencing(&semaphore, token).await?,
        // If the semaphore is unknown, that is the error.
        None => handle.remainder(&semaphore).await.map(|_| None)?,
    };
    let Some(holder) = holder else {
        let detail = "No lock is held under this fencing token.";
        return Err(Refusal::new(Code::NotHeld, detail));
    };
    let grant = HeldGrant { semaphore: semaphore.into_owned(), holder: view::holder(holder) };
    Ok(answer::json(&grant))
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
