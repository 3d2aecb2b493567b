//! Locks are asked for and given back.
//!
//! If several things are wrong with a request, the semaphore is told first, then the count, then the
//! peer: a client that made a mistake shall not be sent to restore its peer.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, http::StatusCode};
use throttle_runtime::{Admission, Ask, Count, Handle};
use throttle_wire::{Acquire, Acquired};

use crate::{
    api::Api,
    extract::{Json, Path, Query},
    refusal::Refusal,
    request::{Lock, LockCount},
};

/// `PUT /peers/{id}/{semaphore}`: asks for a lock, and waits for it at most `block_for`.
///
/// Safe to repeat: who asks again for what they hold is told so again. Dropped while it waits, it
/// parks the waiter.
pub(crate) async fn acquire(
    State(api): State<Arc<Api>>,
    Path(Lock { peer, semaphore }): Path<Lock>,
    Query(Acquire { expires_in, block_for }): Query<Acquire>,
    Json(LockCount(count)): Json<LockCount>,
) -> Result<(StatusCode, Answer<Acquired>), Refusal> {
    let count = self::count(&api.handle, &semaphore, count)?;
    let Some(peer) = peer else { return nobody(&api.handle, &semaphore) };
    let ask = Ask { count, expires_in, block_for };
    let (status, token) = match api.handle.acquire(peer, &semaphore, ask).await? {
        Admission::Held { token } => (StatusCode::OK, Some(token.get())),
        Admission::Pending => (StatusCode::ACCEPTED, None),
    };
    let answer = Acquired {
        peer_id: peer.get(),
        semaphore,
        count: count.get(),
        acquired: token.is_some(),
        fencing_token: token,
    };
    Ok((status, Answer(answer)))
}

/// `DELETE /peers/{id}/{semaphore}`: gives back the lock, or withdraws the request for it, whichever
/// there is. That there is none is no error.
pub(crate) async fn release(
    State(api): State<Arc<Api>>,
    Path(Lock { peer, semaphore }): Path<Lock>,
) -> Result<&'static str, Refusal> {
    let Some(peer) = peer else { return nobody(&api.handle, &semaphore) };
    api.handle.release(peer, &semaphore).await?;
    Ok("Ok")
}

/// A count that somebody may ask for of `semaphore`, which is told first if it is wrong as well.
pub(crate) fn count(handle: &Handle, semaphore: &str, count: i64) -> Result<Count, Refusal> {
    Count::try_from(count).or_else(|error| {
        handle.remainder(semaphore)?;
        Err(error.into())
    })
}

/// What a request on behalf of nobody is told.
fn nobody<T>(handle: &Handle, semaphore: &str) -> Result<T, Refusal> {
    handle.remainder(semaphore)?;
    Err(Refusal::unknown_peer())
}
