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
use throttle_runtime::{Handle, SemaphoreStatus};

use crate::view;

/// Entries that are read under one lock of the state.
const PAGE: usize = 1_000;

/// All peers: an array of [`throttle_wire::Peer`].
pub(crate) fn peers(handle: Handle) -> Response {
    json(array(
        move |after| handle.peers(after, PAGE),
        |(cursor, _)| *cursor,
        |(_, peer)| view::peer(peer),
    ))
}

/// One semaphore: a [`throttle_wire::Semaphore`].
pub(crate) fn semaphore(handle: Handle, status: SemaphoreStatus) -> Response {
    let name = status.name.clone();
    let mut summary = text(&view::semaphore(status));
    summary.pop(); // The brace that closes it, for there is more to come.
    let holders = {
        let (handle, name) = (handle.clone(), name.clone());
        // A semaphore that is removed meanwhile was neither held nor awaited any more.
        let page = move |after| handle.holders(&name, after, PAGE).unwrap_or_default();
        array(page, |holder| holder.token, view::holder)
    };
    let waiters = {
        let page = move |after| handle.waiters(&name, after, PAGE).unwrap_or_default();
        array(page, |waiter| waiter.ticket, view::waiter)
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

/// A JSON array of what `page` returns as long as it returns full pages, each behind the cursor of
/// the last entry before it.
fn array<E, C: Copy, V: Serialize>(
    page: impl FnMut(Option<C>) -> Vec<E>,
    cursor: impl Fn(&E) -> C,
    view: impl Fn(E) -> V,
) -> impl Stream<Item = Vec<u8>> {
    stream::unfold(Some((None, page, cursor, view)), async |state| {
        let (after, mut page, cursor, view) = state?;
        if after.is_some() {
            // Others shall have their turn between two pages.
            tokio::task::yield_now().await;
        }
        let entries = page(after);
        let (is_full, last) = (entries.len() == PAGE, entries.last().map(&cursor));
        let mut chunk = Vec::new();
        for (i, entry) in entries.into_iter().enumerate() {
            chunk.push(if after.is_none() && i == 0 { b'[' } else { b',' });
            chunk.extend(text(&view(entry)));
        }
        if after.is_none() && last.is_none() {
            chunk.push(b'[');
        }
        if !is_full {
            chunk.push(b']');
        }
        let next = last.filter(|_| is_full).map(|last| (Some(last), page, cursor, view));
        Some((chunk, next))
    })
}

fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("views have strings for keys")
}
