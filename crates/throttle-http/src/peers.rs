//! Peers come, give signs of life, come back, and go.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, response::Response};
use throttle_runtime::{Labels, PeerId, Restoration};
use throttle_wire::{ExpiresIn, NewPeer, Peer, Restore};

use crate::{
    api::Api,
    extract::{Json, Path},
    listing, locks,
    refusal::Refusal,
    view,
};

/// `POST /new_peer`: a new peer without locks; its id.
pub(crate) async fn new_peer(
    State(api): State<Arc<Api>>,
    Json(peer): Json<NewPeer>,
) -> Result<Answer<u64>, Refusal> {
    let labels = Labels::from_iter(peer.labels);
    Ok(Answer(api.handle.new_peer(peer.expires_in, labels).await?.get()))
}

/// `PUT /peers/{id}`: a heartbeat.
pub(crate) async fn heartbeat(
    State(api): State<Arc<Api>>,
    Path(peer): Path<Option<PeerId>>,
    Json(lease): Json<ExpiresIn>,
) -> Result<&'static str, Refusal> {
    api.handle.heartbeat(somebody(peer)?, lease.expires_in).await?;
    Ok("Ok")
}

/// `DELETE /peers/{id}`: removes a peer and all its locks. That there is none is no error.
pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    Path(peer): Path<Option<PeerId>>,
) -> Result<Answer<&'static str>, Refusal> {
    let existed = match peer {
        Some(peer) => api.handle.remove_peer(peer).await?,
        None => false,
    };
    Ok(Answer(if existed { "Peer released" } else { "Peer not found" }))
}

/// `GET /peers/{id}/is_acquired`: whether the peer waits for nothing.
pub(crate) async fn is_acquired(
    State(api): State<Arc<Api>>,
    Path(peer): Path<Option<PeerId>>,
) -> Result<Answer<bool>, Refusal> {
    Ok(Answer(api.handle.is_acquired(somebody(peer)?)?))
}

/// `GET /peers/{id}`: what the peer holds, and what it waits for.
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    Path(peer): Path<Option<PeerId>>,
) -> Result<Answer<Peer>, Refusal> {
    Ok(Answer(view::peer(api.handle.peer(somebody(peer)?)?)))
}

/// `GET /peers/`: the same of all peers.
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Response {
    listing::peers(api.handle.clone())
}

/// `POST /restore`: a peer is back with what it holds.
pub(crate) async fn restore(
    State(api): State<Arc<Api>>,
    Json(peer): Json<Restore>,
) -> Result<&'static str, Refusal> {
    let locks = peer.acquired.into_iter().map(|(semaphore, count)| {
        let count = locks::count(&api.handle, &semaphore, count)?;
        Ok((semaphore, count))
    });
    let restoration = Restoration {
        peer: somebody(PeerId::new(peer.peer_id))?,
        expires_in: peer.expires_in,
        locks: locks.collect::<Result<_, Refusal>>()?,
        labels: Labels::from_iter(peer.labels),
    };
    api.handle.restore(restoration).await?;
    Ok("Ok")
}

/// A peer that may exist. Zero is nobody, so nobody knows it.
fn somebody(peer: Option<PeerId>) -> Result<PeerId, Refusal> {
    peer.ok_or_else(Refusal::unknown_peer)
}
