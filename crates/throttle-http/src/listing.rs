//! Lists that may have a million entries, written piece by piece.
//!
//! A list is read page by page, each under one lock of the state, and a page is read only when the
//! client has taken what was written before. So a list takes little memory, and little time at once.
//! Each page is consistent in itself: an entry that exists throughout is listed exactly once, one that
//! comes or goes meanwhile may or may not be listed. An answer longer than one piece counts as a listing
//! until it is written, and the number of listings at a time is limited.
//!
//! The handlers are in `peers` and `semaphores`. Which entries a page has is decided in the runtime
//! (`inspect`), and what an entry looks like in `view`.

use std::{borrow::Cow, iter, mem, sync::Arc};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use throttle_core::Error as Refused;
use throttle_runtime::{Error, Overview, Page, PeerStatus, SemaphorePages, SemaphoreStatus};
use throttle_wire::Code;
use tokio::{sync::OwnedSemaphorePermit, task};

use crate::{
    answer::{self, PIECE},
    api::Api,
    refusal::Refusal,
    view,
};

/// A part of an answer: a few bytes, or the text of one entry.
pub(crate) type Part = Cow<'static, [u8]>;

/// The parts of an answer that come from one page of a list.
pub(crate) type Parts = Box<dyn Iterator<Item = Part> + Send>;

/// All peers: an array of [`throttle_wire::PeerStatus`].
pub(crate) async fn peers(api: &Api) -> Result<Response, Refusal> {
    let handle = api.handle.clone();
    let first = handle.peers(None, ENTRIES).await?;
    let pages = pages(first, move |after| {
        let handle = handle.clone();
        async move { handle.peers(Some(after), ENTRIES).await }
    });
    answer(api, answer::JSON, array(pages, parts_of_peer)).await
}

/// One peer: a [`throttle_wire::PeerStatus`].
pub(crate) async fn peer(api: &Api, peer: PeerStatus) -> Result<Response, Refusal> {
    let parts = stream::iter([Ok(boxed(parts_of_peer(peer)))]);
    let answer = answer(api, answer::JSON, parts).await?;
    // The other lists are on operators' routes, which do this for all answers.
    Ok(yield_between_pieces(answer))
}

/// All semaphores: an array of [`throttle_wire::SemaphoreStatus`].
pub(crate) async fn semaphores(api: &Api) -> Result<Response, Refusal> {
    let pages = semaphore_pages(api.handle.semaphore_pages().await?);
    let parts = array(pages, |semaphore| json(&view::semaphore(semaphore)));
    answer(api, answer::JSON, parts).await
}

/// One semaphore: a [`throttle_wire::SemaphoreOverview`], from its numbers and the first pages of its
/// lists.
pub(crate) async fn semaphore(api: &Api, overview: Overview) -> Result<Response, Refusal> {
    let Overview { status, holders, waiters } = overview;
    let name = Arc::clone(&status.name);
    let mut numbers = text(&view::semaphore(status));
    numbers.pop(); // The closing brace: the lists follow.
    // A semaphore that is removed meanwhile has neither holders nor waiters, so its lists end.
    let holders = {
        let (handle, name) = (api.handle.clone(), Arc::clone(&name));
        pages(holders, move |after| {
            let (handle, name) = (handle.clone(), Arc::clone(&name));
            async move { unless_removed(handle.holders(&name, Some(after), ENTRIES).await) }
        })
    };
    let waiters = {
        let handle = api.handle.clone();
        pages(waiters, move |after| {
            let (handle, name) = (handle.clone(), Arc::clone(&name));
            async move { unless_removed(handle.waiters(&name, Some(after), ENTRIES).await) }
        })
    };
    let parts = stream::iter([Ok(boxed(one(numbers).chain(fixed(br#","held_by":"#))))])
        .chain(array(holders, |holder| json(&view::holder(holder))))
        .chain(stream::iter([Ok(boxed(fixed(br#","queue":"#)))]))
        .chain(array(waiters, |waiter| json(&view::waiter(waiter))))
        .chain(stream::iter([Ok(boxed(fixed(b"}")))]));
    answer(api, answer::JSON, parts).await
}

/// An answer that consists of these parts. All that exceeds one piece is written as the client reads it. If a part
/// behind the first piece cannot be read, the answer breaks off, and its client notices that it has no end.
///
/// # Errors
///
/// `too_many_listings` if it is longer than one piece and as many listings as allowed are being written, and the
/// error of a part of the first piece.
pub(crate) async fn answer(
    api: &Api,
    media_type: &'static str,
    parts: impl Stream<Item = Result<Parts, Error>> + Send + 'static,
) -> Result<Response, Refusal> {
    let mut pieces = Pieces { pages: Box::pin(parts), current: Box::new(iter::empty()) };
    let first = pieces.next().await?;
    if first.len() < PIECE {
        return Ok(answer::with(StatusCode::OK, media_type, first));
    }
    let permit = permit(api)?;
    // Fused, because compression polls a body once more after its end.
    let body =
        stream::try_unfold((Some(first), pieces, permit), async |(first, mut pieces, permit)| {
            let piece = match first {
                Some(first) => first,
                None => pieces.next().await?,
            };
            Ok::<_, Error>((!piece.is_empty()).then_some((piece, (None, pieces, permit))))
        });
    let mut response = Response::new(Body::from_stream(body.fuse()));
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

/// Permission for one more long answer, for as long as it is kept.
///
/// # Errors
///
/// `too_many_listings` if as many as allowed are being written.
pub(crate) fn permit(api: &Api) -> Result<OwnedSemaphorePermit, Refusal> {
    Arc::clone(&api.listings).try_acquire_owned().map_err(|_| {
        let limit = api.limits.listings;
        let detail = format!("There are {limit} long lists being read. Try again later.");
        Refusal::new(Code::TooManyListings, detail)
    })
}

/// The body, which keeps the permit until it is written.
pub(crate) fn with_permit(body: Body, permit: OwnedSemaphorePermit) -> Body {
    let pieces = body.into_data_stream();
    Body::from_stream(pieces.inspect(move |_| _ = &permit).fuse())
}

/// Makes a body in several pieces yield to other tasks between them.
///
/// A server takes pieces for as long as they are ready and the client reads, and it takes time to make one:
/// to read the state, and to compress. The bench `scrapes_and_lists` scrapes 10,000 semaphores: with this no
/// other task waits for more than 0.6 ms of processor time, without it 190 ms.
pub(crate) fn yield_between_pieces(response: Response) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| {
        let pieces = body.into_data_stream();
        let pieces = stream::unfold((pieces, false), async |(mut pieces, is_later_one)| {
            if is_later_one {
                task::yield_now().await;
            }
            let piece = pieces.next().await?;
            Some((piece, (pieces, true)))
        });
        Body::from_stream(pieces.fuse())
    })
}

/// An answer that is written piece by piece.
struct Pieces<S> {
    pages: S,
    /// The parts of the page that was read last.
    current: Parts,
}

impl<S: Stream<Item = Result<Parts, Error>> + Unpin> Pieces<S> {
    /// As many parts as make a piece, or all that are left.
    async fn next(&mut self) -> Result<Bytes, Error> {
        let mut piece = Vec::with_capacity(SHORT);
        while piece.len() < PIECE {
            if let Some(part) = self.current.next() {
                piece.extend_from_slice(&part);
            } else if let Some(parts) = self.pages.next().await {
                self.current = parts?;
            } else {
                break;
            }
        }
        Ok(piece.into())
    }
}

/// The first page of a list, and those that `page` returns after it.
fn pages<E: Send, C: Send, F: Future<Output = Result<Page<E, C>, Error>> + Send>(
    first: Page<E, C>,
    page: impl FnMut(C) -> F + Send,
) -> impl Stream<Item = Result<Vec<E>, Error>> + Send {
    let Page { entries, next } = first;
    let others = stream::try_unfold((next, page), async |(next, mut page)| {
        let Some(next) = next else { return Ok(None) };
        let Page { entries, next } = page(next).await?;
        Ok(Some((entries, (next, page))))
    });
    stream::iter([Ok(entries)]).chain(others)
}

/// The pages of all semaphores.
pub(crate) fn semaphore_pages(
    pages: SemaphorePages,
) -> impl Stream<Item = Result<Vec<SemaphoreStatus>, Error>> + Send {
    stream::try_unfold(pages, async |mut pages| {
        let page = pages.next().await?;
        Ok(page.map(|page| (page, pages)))
    })
}

/// The page, or an empty one that ends the list if its semaphore was removed.
fn unless_removed<E, C>(page: Result<Page<E, C>, Error>) -> Result<Page<E, C>, Error> {
    match page {
        Err(Error::Refused(Refused::UnknownSemaphore)) => {
            Ok(Page { entries: Vec::new(), next: None })
        }
        page => page,
    }
}

/// The parts of a JSON array with the entries of all pages.
fn array<E: Send + 'static, I: Iterator<Item = Part> + Send + 'static>(
    pages: impl Stream<Item = Result<Vec<E>, Error>> + Send,
    parts_of: impl Fn(E) -> I + Copy + Send + 'static,
) -> impl Stream<Item = Result<Parts, Error>> + Send {
    let mut at_start = true;
    let entries = pages.map_ok(move |page| {
        let mut is_first = at_start;
        at_start &= page.is_empty();
        boxed(page.into_iter().flat_map(move |entry| {
            let separator: &[u8] = if mem::take(&mut is_first) { b"" } else { b"," };
            fixed(separator).chain(parts_of(entry))
        }))
    });
    let bracket = |bracket| stream::iter([Ok(boxed(fixed(bracket)))]);
    bracket(b"[").chain(entries).chain(bracket(b"]"))
}

/// A [`throttle_wire::PeerStatus`]. Each lock is a part of its own, because a peer may have thousands.
fn parts_of_peer(peer: PeerStatus) -> impl Iterator<Item = Part> + Send {
    const NO_LOCKS: &[u8] = br#"[],"pending":null}"#;
    let (peer, held, pending) = view::peer(peer);
    let mut head = text(&peer);
    assert!(head.ends_with(NO_LOCKS), "the locks come last");
    head.truncate(head.len() - NO_LOCKS.len());
    let separators = iter::once(fixed(b"")).chain(iter::repeat_with(|| fixed(b",")));
    let held = held.into_iter().map(|lock| json(&view::held_lock(lock)));
    one(head)
        .chain(fixed(b"["))
        .chain(separators.zip(held).flat_map(|(separator, lock)| separator.chain(lock)))
        .chain(fixed(br#"],"pending":"#))
        .chain(json(&pending))
        .chain(fixed(b"}"))
}

fn json(value: &impl Serialize) -> iter::Once<Part> {
    one(text(value))
}

fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the keys of a view are strings")
}

fn one(text: Vec<u8>) -> iter::Once<Part> {
    iter::once(Cow::Owned(text))
}

fn fixed(text: &'static [u8]) -> iter::Once<Part> {
    iter::once(Cow::Borrowed(text))
}

fn boxed(parts: impl Iterator<Item = Part> + Send + 'static) -> Parts {
    Box::new(parts)
}

/// Most answers fit, so the buffer rarely grows.
const SHORT: usize = 512;

/// The number of entries that are read under one lock of the state: about a piece.
pub(crate) const ENTRIES: usize = 128;
