//! Looking at semaphores, who holds them, and who waits.

use axum::response::Response;
use throttle_wire::Remainder;

use crate::{
    answer,
    call::{Call, Content},
    listing,
    refusal::Refusal,
    request::Name,
};

/// `GET /semaphores`: all semaphores in numbers, in the order of their names.
pub(crate) fn list(call: &Call<'_, impl Content>) -> Result<Response, Refusal> {
    listing::semaphores(call.api)
}

/// `GET /semaphores/{name}`: the numbers, everybody who holds a lock, and the queue.
pub(crate) fn show(call: &Call<'_, impl Content>) -> Result<Response, Refusal> {
    let Name(name) = call.path()?;
    listing::semaphore(call.api, call.api.handle.overview(&name, listing::ENTRIES)?)
}

/// `GET /remainder?semaphore=A`: what is free of a semaphore.
pub(crate) fn remainder(call: &Call<'_, impl Content>) -> Result<Response, Refusal> {
    let Remainder { semaphore } = call.query()?;
    Ok(answer::json(&call.api.handle.remainder(&semaphore)?))
}
