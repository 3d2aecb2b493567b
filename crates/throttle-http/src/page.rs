//! The page for a browser: a table of all semaphores, with links to the details.

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use throttle_runtime::{Error, Handle, SemaphoreStatus};

use crate::{
    listing::{self, Parts},
    view,
};

/// The characters that a path segment needs percent-encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The page at `path`. Its links are relative to that, because an application may nest our routes anywhere, and
/// a proxy in front of it may change the path again. It comes in parts, because there may be many semaphores.
pub(crate) async fn render(
    handle: &Handle,
    path: &str,
) -> Result<impl Stream<Item = Result<Parts, Error>> + Send + use<>, Error> {
    let base = match path.rsplit('/').next() {
        Some(last) if !last.is_empty() => format!("./{}/", escape(last)),
        _ => "./".to_owned(),
    };
    let head = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Throttle</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <link rel=\"icon\" href=\"{base}favicon.ico\"><style>{STYLE}</style></head>\
         <body><h1>Hello from Throttle!</h1><p>{peers} peers, version {version}</p>{grace_period}",
        peers = handle.peer_count().await?,
        version = env!("CARGO_PKG_VERSION"),
        grace_period = view::grace_left(handle).map_or_else(String::new, |left| {
            format!("<p><b>{}</b></p>", view::grace_period(left))
        }),
    );
    let foot = format!(
        "<p><a href=\"{base}semaphores\">semaphores</a> <a href=\"{base}peers\">peers</a>\
         </p></body></html>"
    );
    let semaphores = listing::semaphore_pages(handle.semaphore_pages().await?);
    let filled = semaphores.try_filter(|page| future::ready(!page.is_empty()));
    let mut pages = Box::pin(filled.peekable());
    let (before, after) = match pages.as_mut().peek().await {
        None => ("<p>No semaphores are configured.</p>", ""),
        Some(_) => (
            "<table><thead><tr><th>Semaphore<th>Level<th>Max<th>Held<th>Waiting</thead><tbody>",
            "</table>",
        ),
    };
    let rows =
        pages.map_ok(move |page| page.iter().map(|semaphore| row(semaphore, &base)).collect());
    let parts = stream::iter([Ok(vec![head, before.to_owned()])])
        .chain(rows)
        .chain(stream::iter([Ok(vec![after.to_owned(), foot])]));
    Ok(parts.map_ok(|parts: Vec<_>| {
        Box::new(parts.into_iter().map(|part| part.into_bytes().into())) as Parts
    }))
}

fn row(semaphore: &SemaphoreStatus, base: &str) -> String {
    let SemaphoreStatus { name, level, max, held, holders, pending, waiters, .. } = semaphore;
    let (segment, name) = (utf8_percent_encode(name, SEGMENT), escape(name));
    let mark = if semaphore.retired { " <i>retired</i>" } else { "" };
    let next_level = semaphore.next_level.map(|next| format!(" <i>then {next}</i>"));
    let cells = [
        format!("<a href=\"{base}semaphores/{segment}\">{name}</a>{mark}"),
        level.to_string() + &next_level.unwrap_or_default(),
        max.to_string(),
        sum(*held, *holders),
        sum(*pending, *waiters),
    ];
    cells.iter().fold("<tr>".to_owned(), |row, cell| row + "<td>" + cell)
}

/// A sum of counts, with the number of peers that they belong to.
fn sum(counts: u64, peers: usize) -> String {
    match peers {
        0 => counts.to_string(),
        _ => format!("{counts} <i>by {peers}</i>"),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884}\
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:3rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}\
p{color:#888}\
table{border-collapse:collapse;width:100%}\
th,td{padding:.4rem .6rem;border-bottom:1px solid var(--line);text-align:right}\
th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere;white-space:pre-wrap}\
td{font-variant-numeric:tabular-nums}\
th{font-weight:600}\
i{font-style:normal;color:#888}\
a{color:#2a7ae2;text-decoration:none;margin-right:1rem}";
