//! Answers of the server as tables.
//!
//! The types are those of the protocol, except that all that servers of version 0.5 leave out is optional.

use std::time::Duration;

use serde::Deserialize;
use throttle_client::{HeldLock, Holder, Labels, PeerId, PendingLock, Reloaded, Waiter};

use super::text_table::TextTable;

/// A semaphore in numbers.
#[derive(Debug, Deserialize)]
pub(super) struct SemaphoreStatus {
    pub(super) name: String,
    pub(super) max: u64,
    level: Option<i32>,
    held: u64,
    pub(super) pending: u64,
    pub(super) remainder: i64,
    pub(super) holders: Option<u64>,
    pub(super) waiters: Option<u64>,
    #[serde(with = "humantime_serde")]
    longest_pending: Duration,
    #[serde(default)]
    pub(super) retired: bool,
    #[serde(default)]
    next_level: Option<i32>,
}

impl SemaphoreStatus {
    /// How the semaphore differs from its configuration, if it does.
    fn note(&self) -> Option<String> {
        let level = self.next_level.map(|level| format!("level {level} once it is unused"));
        if self.retired { Some("retired".to_owned()) } else { level }
    }
}

/// A semaphore with its holders and its queue.
#[derive(Debug, Deserialize)]
pub(super) struct SemaphoreOverview {
    #[serde(flatten)]
    pub(super) status: SemaphoreStatus,
    held_by: Option<Vec<Holder>>,
    pub(super) queue: Option<Vec<Waiter>>,
}

/// A peer with its locks.
#[derive(Debug, Deserialize)]
pub(super) struct PeerStatus {
    id: PeerId,
    #[serde(default, with = "humantime_serde")]
    expires_in: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    time_left: Option<Duration>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    held: Vec<HeldLock>,
    #[serde(default)]
    pending: Option<PendingLock>,
}

/// A table of semaphores in numbers. It has a column for notes if there is one.
pub(super) fn semaphores<'a>(
    semaphores: impl IntoIterator<Item = &'a SemaphoreStatus, IntoIter: Clone>,
) -> String {
    let semaphores = semaphores.into_iter();
    let columns =
        ["SEMAPHORE", "LEVEL", "MAX", "HELD", "FREE", "HOLDERS", "WAITERS", "LONGEST WAIT", "NOTE"];
    let has_notes = semaphores.clone().any(|it| it.note().is_some());
    let mut table = TextTable::new(&columns[..columns.len() - usize::from(!has_notes)]);
    for it in semaphores {
        let cells = [
            it.name.clone(),
            or_dash(it.level),
            it.max.to_string(),
            it.held.to_string(),
            it.remainder.to_string(),
            or_dash(it.holders),
            or_dash(it.waiters),
            or_dash((it.pending > 0).then(|| format_span(it.longest_pending))),
        ];
        table.row(cells.into_iter().chain(has_notes.then(|| or_dash(it.note()))));
    }
    table.to_string()
}

/// Tables of one semaphore: its numbers, its holders and its queue.
pub(super) fn semaphore(semaphore: &SemaphoreOverview) -> String {
    let numbers = semaphores([&semaphore.status]);
    let tables = [
        Some(numbers),
        semaphore.held_by.as_deref().map(holders),
        semaphore.queue.as_deref().map(waiters),
    ];
    tables.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// A table of holders.
pub(super) fn holders(holders: &[Holder]) -> String {
    let mut table =
        TextTable::new(&["HOLDER", "COUNT", "HELD FOR", "TIME LEFT", "TOKEN", "LABELS"]);
    for it in holders {
        table.row([
            it.peer_id.to_string(),
            it.count.to_string(),
            format_span(it.held_for),
            format_span(it.time_left),
            it.fencing_token.to_string(),
            labels(&it.labels),
        ]);
    }
    table.to_string()
}

fn waiters(waiters: &[Waiter]) -> String {
    let mut table =
        TextTable::new(&["WAITER", "COUNT", "WAITING FOR", "TIME LEFT", "PLACE", "LABELS"]);
    for (place, it) in waiters.iter().enumerate() {
        let place = if it.parked { "gone".to_owned() } else { (place + 1).to_string() };
        table.row([
            it.peer_id.to_string(),
            it.count.to_string(),
            format_span(it.waiting_for),
            format_span(it.time_left),
            place,
            labels(&it.labels),
        ]);
    }
    table.to_string()
}

/// A table of peers, with the locks that they hold and wait for.
pub(super) fn peers(peers: &[PeerStatus]) -> String {
    let mut table = TextTable::new(&["PEER", "LEASE", "TIME LEFT", "HOLDS", "WAITS FOR", "LABELS"]);
    for it in peers {
        let held = it.held.iter().map(|lock| format!("{} x{}", lock.semaphore, lock.count));
        let held = held.collect::<Vec<_>>().join(", ");
        table.row([
            it.id.to_string(),
            or_dash(it.expires_in.map(format_span)),
            or_dash(it.time_left.map(format_span)),
            or_dash(Some(held).filter(|it| !it.is_empty())),
            or_dash(it.pending.as_ref().map(|it| format!("{} x{}", it.semaphore, it.count))),
            labels(&it.labels),
        ]);
    }
    table.to_string()
}

/// The changes by a reload, a line for each semaphore. Those that are retired or deferred are still in use.
pub(super) fn reloaded(reloaded: &Reloaded) -> String {
    let Reloaded { added, changed, removed, retired, deferred } = reloaded;
    let mut table = TextTable::new(&[]);
    for (what, names) in [
        ("added", added),
        ("changed", changed),
        ("removed", removed),
        ("retired", retired),
        ("deferred", deferred),
    ] {
        for name in names {
            table.row([what.to_owned(), name.clone()]);
        }
    }
    let text = table.to_string();
    if text.is_empty() { "no semaphore has changed\n".to_owned() } else { text }
}

fn labels(labels: &Labels) -> String {
    let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
    or_dash(labels.reduce(|all, label| all + " " + &label))
}

/// The value as text, or a dash.
fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |it| it.to_string())
}

/// A span in whole seconds, or in whole milliseconds if it is shorter than a second.
pub(super) fn format_span(span: Duration) -> String {
    let span = match span.as_secs() {
        0 => Duration::from_millis(u64::from(span.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(span).to_string()
}
