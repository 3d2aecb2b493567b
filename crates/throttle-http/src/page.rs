//! The page for a browser: what is held and awaited at a glance, and where to look closer.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use throttle_runtime::{Handle, SemaphoreStatus};

/// What stands in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The page as it looks at `path`, to which its links are relative: an application may have put our
/// routes anywhere, and a proxy before it somewhere else.
pub(crate) fn render(handle: &Handle, path: &str) -> String {
    let base = match path.rsplit('/').next() {
        Some(last) if !last.is_empty() => format!("./{}/", escape(last)),
        _ => "./".to_owned(),
    };
    let semaphores = handle.semaphores();
    let rows: String = semaphores.iter().map(|semaphore| row(semaphore, &base)).collect();
    let table = match semaphores.len() {
        0 => "<p>No semaphores are configured.</p>".to_owned(),
        _ => format!(
            "<table><thead><tr><th>Semaphore<th>Level<th>Max<th>Held<th>Waiting</thead>\
             <tbody>{rows}</tbody></table>"
        ),
    };
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Throttle</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <link rel=\"icon\" href=\"{base}favicon.ico\"><style>{STYLE}</style></head>\
         <body><h1>Hello from Throttle!</h1><p>{peers} peers, version {version}</p>{table}\
         <p><a href=\"{base}semaphores\">semaphores</a> <a href=\"{base}peers\">peers</a>\
         </p></body></html>",
        peers = handle.peer_count(),
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn row(semaphore: &SemaphoreStatus, base: &str) -> String {
    let SemaphoreStatus { name, level, max, held, holders, pending, waiters, .. } = semaphore;
    let (segment, name) = (utf8_percent_encode(name, SEGMENT), escape(name));
    let cells = [
        format!("<a href=\"{base}semaphores/{segment}\">{name}</a>"),
        level.to_string(),
        max.to_string(),
        sum(*held, *holders),
        sum(*pending, *waiters),
    ];
    cells.iter().fold("<tr>".to_owned(), |row, cell| row + "<td>" + cell)
}

/// A sum of counts, and of how many peers it is the sum.
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
