//! Locks are asked for and given back.
//!
//! If several things are wrong with a request, the semaphore is told first, then the count, then the
//! peer: a client that made a mistake shall not be sent to restore its peer.

use axum::{http::StatusCode, response::Response};
use throttle_runtime::{Admission, Count, Handle, LockRequest, Sequence};
use throttle_wire::{self as wire, LockAnswer, LockCount, Release};

use crate::{
    answer,
    refusal::Refusal,
    request_parts::Lock,
    worker_request::{Content, WorkerRequest},
};

/// `PUT /peers/{id}/{semaphore}`: asks for a lock, and waits for it at most `block_for`.
///
/// Safe to repeat: who asks again for what they hold is told so again. Dropped while it waits, it
/// parks the waiter.
pub(crate) async fn acquire(request: WorkerRequest<'_, impl Content>) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let Lock { peer, semaphore } = request.path()?;
    let wire::LockRequest { expires_in, block_for, sequence } = request.query()?;
    let LockCount(count) = request.json().await?;
    let count = self::count(handle, &semaphore, count).await?;
    let Some(peer) = peer else { return nobody(handle, &semaphore).await };
    let sequence = sequence.and_then(Sequence::new);
    let request = LockRequest { count, expires_in, block_for, sequence };
    // Another request of the peer may have shrunk the lock while this one waited.
    let (status, count, token) = match handle.acquire(peer, &semaphore, request).await? {
        Admission::Granted { count, token } => (StatusCode::OK, count, Some(token.get())),
        Admission::Queued { count, .. } => (StatusCode::ACCEPTED, count, None),
    };
    let acquired = LockAnswer {
        peer_id: peer.get(),
        semaphore: semaphore.into_owned(),
        count: count.get(),
        acquired: token.is_some(),
        fencing_token: token,
    };
    Ok(answer::json_with(status, &acquired))
}

/// `DELETE /peers/{id}/{semaphore}`: gives back the lock, or withdraws the request for it, whichever
/// there is. That there is none is no error.
pub(crate) async fn release(request: WorkerRequest<'_, impl Content>) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let Lock { peer, semaphore } = request.path()?;
    let Release { sequence } = request.query()?;
    let Some(peer) = peer else { return nobody(handle, &semaphore).await };
    handle.release(peer, &semaphore, sequence.and_then(Sequence::new)).await?;
    Ok(answer::text("Ok"))
}

/// A count that somebody may ask for of `semaphore`, which is told first if it is wrong as well.
pub(crate) async fn count(handle: &Handle, semaphore: &str, count: i64) -> Result<Count, Refusal> {
    match Count::try_from(count) {
        Ok(count) => Ok(count),
        Err(error) => {
            handle.remainder(semaphore).await?;
            Err(error.into())
        }
    }
}

/// What a request on behalf of nobody is told.
async fn nobody<T>(handle: &Handle, semaphore: &str) -> Result<T, Refusal> {
    handle.remainder(semaphore).await?;
    Err(Refusal::unknown_peer())
}
