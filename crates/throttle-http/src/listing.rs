//! Lists that may have a million entries, as JSON written page by page.
//!
//! The state is looked at once for each page, and only when the client has taken the page before. So
//! a list takes neither much memory nor much time at once, and is consistent within each page: who
//! is there all the while is listed exactly once, who comes or goes meanwhile may or may not be.

use std::{convert::Infallible, iter};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use throttle_runtime::{Handle, Holder, SemaphoreStatus, Waiter};

use crate::view;

/// Entries that are read under one lock of the state, and written at a time. Labels can make each of
/// them large, so it bounds what a client costs that reads slowly.
pub(crate) const PAGE: usize = 100;

/// All peers: an array of [`throttle_wire::Peer`].
pub(crate) fn peers(handle: Handle) -> Response {
    let first = handle.peers(None, PAGE);
    json(array(
        first,
        move |after| handle.peers(Some(after), PAGE),
        |(cursor, _)| *cursor,
        |(_, peer)| view::peer(peer),
    ))
}

/// One semaphore: a [`throttle_wire::Semaphore`], from its numbers and the first pages of its lists.
pub(crate) fn semaphore(
    handle: &Handle,
    (status, holders, waiters): (SemaphoreStatus, Vec<Holder>, Vec<Waiter>),
) -> Response {
    let name = status.name.clone();
    let mut summary = text(&view::semaphore(status));
    summary.pop(); // The brace that closes it, for there is more to come.
    let holders = {
        let (handle, name) = (handle.clone(), name.clone());
        // A semaphore that is removed meanwhile was neither held nor awaited any more.
        let page = move |after| handle.holders(&name, Some(after), PAGE).unwrap_or_default();
        array(holders, page, |holder| holder.token, view::holder)
    };
    let waiters = {
        let handle = handle.clone();
        let page = move |after| handle.waiters(&name, Some(after), PAGE).unwrap_or_default();
        array(waiters, page, |waiter| waiter.ticket, view::waiter)
    };
    let fixed = |text: Vec<u8>| stream::iter(iter::once(text));
    json(
        fixed(summary)
            .chain(fixed(br#","held_by":"#.to_vec()))
            .chain(holders)
            .chain(fixed(br#","queue":"#.to_vec()))
            .chain(waiters)
            .chain(fixed(b"}".to_vec())),
    )
}

fn json(chunks: impl Stream<Item = Vec<u8>> + Send + 'static) -> Response {
    let chunks = chunks.map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
    let media_type = [(header::CONTENT_TYPE, "application/json")];
    (media_type, Body::from_stream(chunks)).into_response()
}

/// A JSON array of a first page, and of what `page` returns behind the cursor of the last entry as
/// long as pages are full.
fn array<E, C, V: Serialize>(
    first: Vec<E>,
    page: impl FnMut(C) -> Vec<E>,
    cursor: impl Fn(&E) -> C,
    view: impl Fn(E) -> V,
) -> impl Stream<Item = Vec<u8>> {
    stream::unfold(Some((Turn::First(first), page, cursor, view)), async |state| {
        let (turn, mut page, cursor, view) = state?;
        let (mut separator, entries) = match turn {
            Turn::First(entries) => (b'[', entries),
            Turn::Behind(last) => {
                // Others shall have their turn between two pages.
                tokio::task::yield_now().await;
                (b',', page(last))
            }
        };
        let last = entries.last().map(&cursor).filter(|_| entries.len() == PAGE);
        let mut chunk = if entries.is_empty() && separator == b'[' { vec![b'['] } else { vec![] };
        for entry in entries {
            chunk.push(std::mem::replace(&mut separator, b','));
            chunk.extend(text(&view(entry)));
        }
        if last.is_none() {
            chunk.push(b']');
        }
        let next = last.map(|last| (Turn::Behind(last), page, cursor, view));
        Some((chunk, next))
    })
}

/// What of a list is to be written next.
enum Turn<E, C> {
    First(Vec<E>),
    /// The page behind the entry with this cursor.
    Behind(C),
}

fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("views have strings for keys")
}
