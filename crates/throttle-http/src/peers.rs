//! Peers: creation, heartbeat, restore and removal, and what a peer holds and awaits.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use throttle_runtime::{Labels, PeerId, Restoration, Sequence};
use throttle_wire::{Heartbeat, NewPeer, RemovePeer, Restore};

use crate::{
    answer,
    api::Api,
    listing, locks,
    refusal::Refusal,
    worker_request::{RequestBody, WorkerRequest},
};

/// `POST /new_peer`: creates a peer without locks, and answers its id.
pub(crate) async fn new_peer(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let NewPeer { expires_in, labels } = request.json().await?;
    let peer = handle.new_peer(expires_in, Labels::from_iter(labels)).await?;
    Ok(answer::json(&peer.get()))
}

/// `PUT /peers/{id}`: a heartbeat.
pub(crate) async fn heartbeat(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let peer: Option<PeerId> = request.path()?;
    let Heartbeat { expires_in } = request.json().await?;
    handle.heartbeat(possible_peer(peer)?, expires_in).await?;
    Ok(answer::text("Ok"))
}

/// `DELETE /peers/{id}`: removes a peer and all its locks. If there is no such peer, that is no error.
pub(crate) async fn remove(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let peer = request.path()?;
    let RemovePeer { sequence } = request.query()?;
    let existed = match peer {
        None => false,
        Some(peer) => handle.remove_peer(peer, sequence.and_then(Sequence::new)).await?,
    };
    Ok(answer::json(if existed { "Peer released" } else { "Peer not found" }))
}

/// `GET /peers/{id}/is_acquired`: whether the peer has no pending lock.
pub(crate) async fn is_acquired(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let peer = possible_peer(request.path()?)?;
    Ok(answer::json(&request.api.handle.is_acquired(peer).await?))
}

/// `GET /peers/{id}`: the held locks of the peer, and the pending one.
pub(crate) async fn show(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let peer = possible_peer(request.path()?)?;
    listing::peer(request.api, request.api.handle.peer(peer).await?).await
}

/// `GET /peers/`: all peers with their locks.
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    listing::peers(&api).await
}

/// `POST /restore`: brings a peer back with the locks that it holds.
pub(crate) async fn restore(
    request: WorkerRequest<'_, impl RequestBody>,
) -> Result<Response, Refusal> {
    let handle = &request.api.handle;
    let Restore { peer_id, expires_in, acquired, labels, sequence } = request.json().await?;
    let peer = possible_peer(PeerId::new(peer_id))?;
    let mut locks = BTreeMap::new();
    for (semaphore, count) in acquired {
        let count = locks::count(handle, &semaphore, count).await?;
        locks.insert(semaphore, count);
    }
    let restoration = Restoration {
        peer,
        expires_in,
        locks,
        labels: Labels::from_iter(labels),
        sequence: sequence.and_then(Sequence::new),
    };
    handle.restore(restoration).await?;
    Ok(answer::text("Ok"))
}

/// The id, unless it is zero, which no peer has.
fn possible_peer(peer: Option<PeerId>) -> Result<PeerId, Refusal> {
    peer.ok_or_else(Refusal::unknown_peer)
}
