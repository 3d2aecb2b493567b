//! Looking at semaphores, who holds them, and who waits.

use axum::response::Response;
use throttle_wire::{Remainder, SemaphoreSummary};

use crate::{
    answer,
    call::{Call, Content},
    listing,
    refusal::Refusal,
    request::Name,
    view,
};

/// `GET /semaphores`: all semaphores in numbers, in the order of their names.
pub(crate) fn list(call: &Call<'_, impl Content>) -> Response {
    let semaphores = call.api.handle.semaphores().into_iter().map(view::semaphore);
    answer::json(&semaphores.collect::<Vec<SemaphoreSummary>>())
}

/// `GET /semaphores/{name}`: the numbers, everybody who holds a lock, and the queue.
pub(crate) fn show(call: &Call<'_, impl Content>) -> Result<Response, Refusal> {
    let Name(name) = call.path()?;
    let overview = call.api.handle.overview(&name, listing::PAGE)?;
    Ok(listing::semaphore(&call.api.handle, overview))
}

/// `GET /remainder?semaphore=A`: what is free of a semaphore.
pub(crate) fn remainder(call: &Call<'_, impl Content>) -> Result<Response, Refusal> {
    let Remainder { semaphore } = call.query()?;
    Ok(answer::json(&call.api.handle.remainder(&semaphore)?))
}
