//! Locks: acquire and release.
//!
//! Of several errors in a request, that of the semaphore is reported first, then that of the count, then that
//! of the peer: a client restores an unknown peer, which would not help if another error is left.

use axum::{http::StatusCode, response::Response};
use throttle_runtime::{Admission, Count, Handle, LockRequest, Sequence};
use throttle_wire::{self as wire, LockAnswer, LockCount, Release};

use crate::{
    answer,
    extractors::LockPath,
    refusal::Refusal,
    worker_request::{RequestBody, WorkerRequest},
};

/// `PUT /peers/{id}/{semaphore}`: asks for a lock, and waits for it at most `block_for`.
///
/// Safe to repeat: the answer for a held lock is the same again. If the future is dropped while it waits, the
/// waiter is parked.
pub(crate) async fn acquire(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let LockPath { peer, semaphore } = request.path()?;
    let wire::LockRequest { expires_in, block_for, sequence } = request.query()?;
    let LockCount(count) = request.json().await?;
    let count = self::count(handle, &semaphore, count).await?;
    let Some(peer) = peer else { return unknown_peer(handle, &semaphore).await };
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

/// `DELETE /peers/{id}/{semaphore}`: releases the held lock, or cancels the pending one. If there is neither,
/// that is no error.
pub(crate) async fn release(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let LockPath { peer, semaphore } = request.path()?;
    let Release { sequence } = request.query()?;
    let Some(peer) = peer else { return unknown_peer(handle, &semaphore).await };
    handle.release(peer, &semaphore, sequence.and_then(Sequence::new)).await?;
    Ok(answer::text("Ok"))
}

/// Checks a count of `semaphore`. If the semaphore is unknown as well, that is the error.
pub(crate) async fn count(handle: &Handle, semaphore: &str, count: i64) -> Result<Count, Refusal> {
    match Count::try_from(count) {
        Ok(count) => Ok(count),
        Err(error) => {
            handle.remainder(semaphore).await?;
            Err(error.into())
        }
    }
}

/// The error for id zero, which no peer has. If the semaphore is unknown as well, that is the error.
async fn unknown_peer<T>(handle: &Handle, semaphore: &str) -> Result<T, Refusal> {
    handle.remainder(semaphore).await?;
    Err(Refusal::unknown_peer())
}
