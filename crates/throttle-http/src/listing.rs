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
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use throttle_runtime::{Overview, Page, PeerStatus};
use throttle_wire::Code;

use crate::{answer, api::Api, refusal::Refusal, view};

/// A part of an answer: a few bytes, or what is written of one entry.
pub(crate) type Part = Cow<'static, [u8]>;

/// All peers: an array of [`throttle_wire::PeerStatus`].
pub(crate) fn peers(api: &Api) -> Result<Response, Refusal> {
    let handle = api.handle.clone();
    let first = handle.peers(None, ENTRIES);
    let peers = pages(first, move |after| handle.peers(Some(after), ENTRIES));
    answer(api, JSON, array(peers.map(parts_of_peer)))
}

/// One peer: a [`throttle_wire::PeerStatus`].
pub(crate) fn peer(api: &Api, peer: PeerStatus) -> Result<Response, Refusal> {
    answer(api, JSON, parts_of_peer(peer))
}

/// All semaphores: an array of [`throttle_wire::SemaphoreStatus`].
pub(crate) fn semaphores(api: &Api) -> Result<Response, Refusal> {
    let semaphores = api.handle.semaphore_pages().flatten();
    answer(api, JSON, array(semaphores.map(|semaphore| one(text(&view::semaphore(semaphore))))))
}

/// One semaphore: a [`throttle_wire::SemaphoreOverview`], from its numbers and the first pages of its lists.
pub(crate) fn semaphore(api: &Api, overview: Overview) -> Result<Response, Refusal> {
    let Overview { status, holders, waiters } = overview;
    let name = Arc::clone(&status.name);
    let mut summary = text(&view::semaphore(status));
    summary.pop(); // The brace that closes it, for there is more to come.
    let holders = {
        let (handle, name) = (api.handle.clone(), Arc::clone(&name));
        // A semaphore that is removed meanwhile was neither held nor awaited any more.
        pages(holders, move |after| {
            handle.holders(&name, Some(after), ENTRIES).unwrap_or_else(|_| nothing())
        })
    };
    let waiters = {
        let handle = api.handle.clone();
        pages(waiters, move |after| {
            handle.waiters(&name, Some(after), ENTRIES).unwrap_or_else(|_| nothing())
        })
    };
    let parts = one(summary)
        .chain(fixed(br#","held_by":"#))
        .chain(array(holders.map(|holder| one(text(&view::holder(holder))))))
        .chain(fixed(br#","queue":"#))
        .chain(array(waiters.map(|waiter| one(text(&view::waiter(waiter))))))
        .chain(fixed(b"}"));
    answer(api, JSON, parts)
}

/// An answer that consists of these parts. What does not fit into a piece is written as the client
/// takes it.
///
/// # Errors
///
/// `too_many_listings` if it is longer than a piece and there are many such answers already.
pub(crate) fn answer(
    api: &Api,
    media_type: &'static str,
    parts: impl Iterator<Item = Part> + Send + 'static,
) -> Result<Response, Refusal> {
    let mut parts = parts.fuse();
    let first = piece(&mut parts);
    if first.len() < PIECE {
        return Ok(answer::with(StatusCode::OK, media_type, first));
    }
    let turn = Arc::clone(&api.listings).try_acquire_owned().map_err(|_| {
        let limit = api.limits.listings;
        let detail = format!("There are {limit} long lists being read. Try again later.");
        Refusal::new(Code::TooManyListings, detail)
    })?;
    // Fused, because compression polls a body once more after its end.
    let pieces = stream::unfold((Some(first), parts, turn), async |(first, mut parts, turn)| {
        let piece = match first {
            Some(first) => first,
            None => piece(&mut parts),
        };
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (None, parts, turn)))
    });
    let mut response = Response::new(Body::from_stream(pieces.fuse()));
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

/// As many parts as make a piece, or all that are left.
fn piece(parts: &mut impl Iterator<Item = Part>) -> Bytes {
    let mut piece = Vec::with_capacity(SHORT);
    while piece.len() < PIECE
        && let Some(part) = parts.next()
    {
        piece.extend_from_slice(&part);
    }
    piece.into()
}

/// The entries of a first page, and of those that `page` returns behind it.
fn pages<E, C>(
    first: Page<E, C>,
    mut page: impl FnMut(C) -> Page<E, C>,
) -> impl Iterator<Item = E> {
    let Page { entries, mut next } = first;
    let mut entries = entries.into_iter();
    iter::from_fn(move || {
        loop {
            if let Some(entry) = entries.next() {
                return Some(entry);
            }
            let further = page(next.take()?);
            (entries, next) = (further.entries.into_iter(), further.next);
        }
    })
}

/// The page that ends a list.
fn nothing<E, C>() -> Page<E, C> {
    Page { entries: Vec::new(), next: None }
}

/// The parts of a JSON array, from those of its entries.
fn array<E: Iterator<Item = Part>>(entries: impl Iterator<Item = E>) -> impl Iterator<Item = Part> {
    let separators = iter::once(fixed(b"")).chain(iter::repeat_with(|| fixed(b",")));
    let entries = separators.zip(entries).flat_map(|(separator, entry)| separator.chain(entry));
    fixed(b"[").chain(entries).chain(fixed(b"]"))
}

/// A [`throttle_wire::PeerStatus`], each lock of which is a part of its own, for it may have thousands.
fn parts_of_peer(peer: PeerStatus) -> impl Iterator<Item = Part> {
    const NO_LOCKS: &[u8] = br#"[],"pending":null}"#;
    let (peer, held, pending) = view::peer(peer);
    let mut head = text(&peer);
    assert!(head.ends_with(NO_LOCKS), "the locks come last");
    head.truncate(head.len() - NO_LOCKS.len());
    one(head)
        .chain(array(held.into_iter().map(|lock| one(text(&view::held(lock))))))
        .chain(fixed(br#","pending":"#))
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
