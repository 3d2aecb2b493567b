//! Looking at semaphores, who holds them, and who waits.

use axum::response::Response;
use throttle_wire::Remainder;

use crate::{
    answer, listing,
    refusal::Refusal,
    request::Name,
    worker_request::{Content, WorkerRequest},
};

/// `GET /semaphores`: all semaphores in numbers, in the order of their names.
pub(crate) async fn list(request: WorkerRequest<'_, impl Content>) -> Result<Response, Refusal> {
    listing::semaphores(request.api).await
}

/// `GET /semaphores/{name}`: the numbers, everybody who holds a lock, and the queue.
pub(crate) async fn show(request: WorkerRequest<'_, impl Content>) -> Result<Response, Refusal> {
    let Name(name) = request.path()?;
    let overview = request.api.handle.overview(&name, listing::ENTRIES).await?;
    listing::semaphore(request.api, overview).await
}

/// `GET /remainder?semaphore=A`: what is free of a semaphore.
pub(crate) async fn remainder(
    request: WorkerRequest<'_, impl Content>,
) -> Result<Response, Refusal> {
    let Remainder { semaphore } = request.query()?;
    Ok(answer::json(&request.api.handle.remainder(&semaphore).await?))
}
