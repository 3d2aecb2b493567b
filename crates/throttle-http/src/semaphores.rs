//! Looking at semaphores, who holds them, and who waits.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, response::Response};
use throttle_wire::{Remainder, SemaphoreSummary};

use crate::{
    api::Api,
    extract::{Path, Query},
    listing,
    refusal::Refusal,
    request::Name,
    view,
};

/// `GET /semaphores`: all semaphores in numbers, in the order of their names.
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Answer<Vec<SemaphoreSummary>> {
    Answer(api.handle.semaphores().into_iter().map(view::semaphore).collect())
}

/// `GET /semaphores/{name}`: the numbers, everybody who holds a lock, and the queue.
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    Path(Name(name)): Path<Name>,
) -> Result<Response, Refusal> {
    let overview = api.handle.overview(&name, listing::PAGE)?;
    Ok(listing::semaphore(&api.handle, overview))
}

/// `GET /remainder?semaphore=A`: what is free of a semaphore.
pub(crate) async fn remainder(
    State(api): State<Arc<Api>>,
    Query(Remainder { semaphore }): Query<Remainder>,
) -> Result<Answer<i64>, Refusal> {
    Ok(Answer(api.handle.remainder(&semaphore)?))
}
