//! Lists that may have a million entries, written piece by piece.
//!
//! The state is looked at once for each page of a list, and only when the client has taken what was
//! written before. So a list takes neither much memory nor much time at once, and is consistent within
//! each page: who is there all the while is listed exactly once, who comes or goes meanwhile may or
//! may not be. An answer that is longer than a piece counts as a listing until it is written, and
//! there are only so many of those at a time.

use std::{borrow::Cow, convert::Infallible, iter, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use throttle_runtime::{Overview, Page, PeerStatus, SemaphorePages, SemaphoreStatus};
use throttle_wire::Code;

use crate::{answer, api::Api, refusal::Refusal, view};

/// A part of an answer: a few bytes, or what is written of one entry.
pub(crate) type Part = Cow<'static, [u8]>;

/// All peers: an array of [`throttle_wire::PeerStatus`].
pub(crate) async fn peers(api: &Api) -> Result<Response, Refusal> {
    let handle = api.handle.clone();
    let first = handle.peers(None, ENTRIES).await;
    let peers = pages(first, move |after| {
        let handle = handle.clone();
        async move { handle.peers(Some(after), ENTRIES).await }
    });
    answer(api, JSON, array(peers.map(parts_of_peer))).await
}

/// One peer: a [`throttle_wire::PeerStatus`].
pub(crate) async fn peer(api: &Api, peer: PeerStatus) -> Result<Response, Refusal> {
    answer(api, JSON, stream::iter(parts_of_peer(peer))).await
}

/// All semaphores: an array of [`throttle_wire::SemaphoreStatus`].
pub(crate) async fn semaphores(api: &Api) -> Result<Response, Refusal> {
    let semaphores = each(api.handle.semaphore_pages().await);
    let entries = semaphores.map(|semaphore| one(text(&view::semaphore(semaphore))));
    answer(api, JSON, array(entries)).await
}

/// One semaphore: a [`throttle_wire::SemaphoreOverview`], from its numbers and the first pages of its lists.
pub(crate) async fn semaphore(api: &Api, overview: Overview) -> Result<Response, Refusal> {
    let Overview { status, holders, waiters } = overview;
    let name = Arc::clone(&status.name);
    let mut summary = text(&view::semaphore(status));
    summary.pop(); // The brace that closes it, for there is more to come.
    // A semaphore that is removed meanwhile was neither held nor awaited any more.
    let holders = {
        let (handle, name) = (api.handle.clone(), Arc::clone(&name));
        pages(holders, move |after| {
            let (handle, name) = (handle.clone(), Arc::clone(&name));
            async move {
                let page = handle.holders(&name, Some(after), ENTRIES).await;
                page.unwrap_or_else(|_| nothing())
            }
        })
    };
    let waiters = {
        let handle = api.handle.clone();
        pages(waiters, move |after| {
            let (handle, name) = (handle.clone(), Arc::clone(&name));
            async move {
                let page = handle.waiters(&name, Some(after), ENTRIES).await;
                page.unwrap_or_else(|_| nothing())
            }
        })
    };
    let parts = stream::iter(one(summary).chain(fixed(br#","held_by":"#)))
        .chain(array(holders.map(|holder| one(text(&view::holder(holder))))))
        .chain(stream::iter(fixed(br#","queue":"#)))
        .chain(array(waiters.map(|waiter| one(text(&view::waiter(waiter))))))
        .chain(stream::iter(fixed(b"}")));
    answer(api, JSON, parts).await
}

/// An answer that consists of these parts. What does not fit into a piece is written as the client
/// takes it.
///
/// # Errors
///
/// `too_many_listings` if it is longer than a piece and there are many such answers already.
pub(crate) async fn answer(
    api: &Api,
    media_type: &'static str,
    parts: impl Stream<Item = Part> + Send + 'static,
) -> Result<Response, Refusal> {
    let mut parts = Box::pin(parts.fuse());
    let first = piece(&mut parts).await;
    if first.len() < PIECE {
        return Ok(answer::with(StatusCode::OK, media_type, first));
    }
    let turn = Arc::clone(&api.listings).try_acquire_owned().map_err(|_| {
        let limit = api.limits.listings;
        let detail = format!("There are {limit} long lists being read. Try again later.");
        Refusal::new(Code::TooManyListings, detail)
    })?;
    let pieces = stream::unfold((Some(first), parts, turn), async |(first, mut parts, turn)| {
        let piece = match first {
            Some(first) => first,
            None => {
                // Others shall have their turn between two pieces.
                tokio::task::yield_now().await;
                piece(&mut parts).await
            }
        };
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (None, parts, turn)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

/// As many parts as make a piece, or all that are left.
async fn piece(parts: &mut (impl Stream<Item = Part> + Unpin)) -> Bytes {
    let mut piece = Vec::with_capacity(SHORT);
    while piece.len() < PIECE
        && let Some(part) = parts.next().await
    {
        piece.extend_from_slice(&part);
    }
    piece.into()
}

/// The entries of a first page, and of those that `page` returns behind it.
fn pages<E: Send, C: Send, F: Future<Output = Page<E, C>> + Send>(
    first: Page<E, C>,
    page: impl FnMut(C) -> F + Send,
) -> impl Stream<Item = E> + Send {
    let Page { entries, next } = first;
    let further = stream::unfold((next, page), async |(next, mut page)| {
        let Page { entries, next } = page(next?).await;
        Some((stream::iter(entries), (next, page)))
    });
    stream::iter(entries).chain(further.flatten())
}

/// The semaphores of all pages.
pub(crate) fn each(pages: SemaphorePages) -> impl Stream<Item = SemaphoreStatus> + Send {
    let pages = stream::unfold(pages, async |mut pages| {
        let page = pages.next().await?;
        Some((stream::iter(page), pages))
    });
    pages.flatten()
}

/// The page that ends a list.
fn nothing<E, C>() -> Page<E, C> {
    Page { entries: Vec::new(), next: None }
}

/// The parts of a JSON array, from those of its entries.
fn array<E: Iterator<Item = Part>>(entries: impl Stream<Item = E>) -> impl Stream<Item = Part> {
    let entries = entries.enumerate().flat_map(|(index, entry)| {
        let separator = if index == 0 { fixed(b"") } else { fixed(b",") };
        stream::iter(separator.chain(entry))
    });
    stream::iter(fixed(b"[")).chain(entries).chain(stream::iter(fixed(b"]")))
}

/// A [`throttle_wire::PeerStatus`], each lock of which is a part of its own, for it may have thousands.
fn parts_of_peer(peer: PeerStatus) -> impl Iterator<Item = Part> {
    const NO_LOCKS: &[u8] = br#"[],"pending":null}"#;
    let (peer, held, pending) = view::peer(peer);
    let mut head = text(&peer);
    assert!(head.ends_with(NO_LOCKS), "the locks come last");
    head.truncate(head.len() - NO_LOCKS.len());
    let separators = iter::once(fixed(b"")).chain(iter::repeat_with(|| fixed(b",")));
    let held = held.into_iter().map(|lock| one(text(&view::held_lock(lock))));
    one(head)
        .chain(fixed(b"["))
        .chain(separators.zip(held).flat_map(|(separator, lock)| separator.chain(lock)))
        .chain(fixed(br#"],"pending":"#))
        .chain(one(text(&pending)))
        .chain(fixed(b"}"))
}

fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("views have strings for keys")
}

fn one(text: Vec<u8>) -> iter::Once<Part> {
    iter::once(Cow::Owned(text))
}

fn fixed(text: &'static [u8]) -> iter::Once<Part> {
    iter::once(Cow::Borrowed(text))
}

const JSON: &str = "application/json";

/// How many bytes are written at a time, and a part beyond them. It bounds what a client costs that
/// reads slowly.
pub(crate) const PIECE: usize = 32 * 1024;

/// Most answers fit, so that they need not grow.
const SHORT: usize = 512;

/// How many entries are read under one lock of the state. They are about a piece.
pub(crate) const ENTRIES: usize = 128;
