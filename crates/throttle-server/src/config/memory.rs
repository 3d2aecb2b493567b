//! An estimate of the memory that a server takes when all of its limits are reached.
//!
//! The weights were measured with the release build on Linux (`docs/operating.md`, "Sizing"), as the growth of the
//! resident memory of a server with thousands of each; those of peers, locks and waiters with the benchmark
//! `memory` of the core. They are rounded up.

use std::fmt;

use super::Config;
use crate::{listen::Capacity, open_files};

/// An estimate, in bytes. Each part is what it takes when its limit is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory {
    /// A server that serves nothing, with full queues of its log.
    pub program: u64,
    /// Semaphores with their metrics.
    pub semaphores: u64,
    /// Peers without labels, with as many locks as can be granted.
    pub peers: u64,
    /// Places in queues.
    pub waiters: u64,
    /// The labels of peers.
    pub labels: u64,
    /// Connections, each with the largest head and body incomplete. The kernel's buffers are not included.
    pub connections: u64,
    /// Long lists that clients are reading.
    pub listings: u64,
    /// What the durable store keeps of its file, and the largest batch.
    pub store: u64,
}

impl Memory {
    /// The estimate for this configuration.
    ///
    /// Restored locks beyond the maxima are not included: how many clients will claim is unknown.
    pub fn of(config: &Config) -> Self {
        let limits = &config.limits;
        let peers = u64::from(limits.peers.get());
        let semaphores = config.semaphores.len() as u64;
        // Each lock has a count of at least 1.
        let locks = config.semaphores.values().map(|semaphore| semaphore.max.get().min(peers));
        let locks = locks.fold(0, u64::saturating_add);
        // A peer waits for one semaphore at a time.
        let waiters = u64::from(limits.waiters.get()).saturating_mul(semaphores).min(peers);
        let Capacity { connections, slack } =
            Capacity::new(limits.connections.get(), open_files::limit());
        let connections = (connections + slack) as u64;
        Self {
            program: PROGRAM,
            semaphores: config.semaphores.keys().map(|name| semaphore(name)).sum(),
            peers: peers.saturating_mul(PEER).saturating_add(locks.saturating_mul(LOCK)),
            waiters: waiters * WAITER,
            labels: labels(limits, peers),
            connections: connections.saturating_mul(connection(limits)),
            listings: u64::from(limits.listings.get()) * LISTING,
            store: config.store.as_ref().map_or(0, |_| STORE),
        }
    }

    /// The sum of all parts.
    pub fn sum(self) -> u64 {
        let Self { program, semaphores, peers, waiters, labels, connections, listings, store } =
            self;
        let parts = [program, semaphores, peers, waiters, labels, connections, listings, store];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// The most that a semaphore takes. Its name is in each line of its metrics.
fn semaphore(name: &str) -> u64 {
    SEMAPHORE + name.len() as u64 * NAMES
}

/// The most that the labels of all peers take: the limit of each peer, or the limit of their sum. The latter counts
/// less for a label than the label takes besides its text.
fn labels(limits: &super::Limits, peers: u64) -> u64 {
    let length = u64::from(limits.label_length.get());
    let of_peer = u64::from(limits.labels.get()).saturating_mul(LABEL + 2 * length);
    let counted = u64::from(limits.label_bytes.get());
    peers.saturating_mul(of_peer).min(counted * LABEL / COUNTED_LABEL)
}

/// The most that one connection takes: a head, and either a body that is read into buffers that double, or the
/// bytes that were read ahead while a request waits.
fn connection(limits: &super::Limits) -> u64 {
    let (head, body) = (u64::from(limits.head.get()), u64::from(limits.body.get()));
    CONNECTION + head + (3 * body).max(READ_AHEAD)
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, semaphores, peers, waiters, labels, connections, listings, store } =
            self.map(|bytes| bytes.div_ceil(1_000_000));
        write!(
            f,
            "at most about {} MB of memory: program {program}, semaphores {semaphores}, peers {peers}, \
            waiters {waiters}, labels {labels}, connections {connections}, listings {listings}",
            self.sum().div_ceil(1_000_000),
        )?;
        if store > 0 { write!(f, ", store {store}") } else { Ok(()) }
    }
}

impl Memory {
    fn map(self, f: impl Fn(u64) -> u64) -> Self {
        Self {
            program: f(self.program),
            semaphores: f(self.semaphores),
            peers: f(self.peers),
            waiters: f(self.waiters),
            labels: f(self.labels),
            connections: f(self.connections),
            listings: f(self.listings),
            store: f(self.store),
        }
    }
}

/// 5 MB after the start, two queues of the log with 4 MiB each, and the record of absent peers.
const PROGRAM: u64 = 20_000_000;
/// Without its name: 3 kB after the start, 20 kB when all of its metrics have values and are scraped.
const SEMAPHORE: u64 = 20_000;
/// How often the name of a semaphore is kept: in 46 lines of each of the four texts of metrics that may exist at a
/// time, and a few times more while one is written.
const NAMES: u64 = 4 * 46 + 8;
/// 170 to 210 bytes, depending on the spare room of hash tables.
const PEER: u64 = 210;
/// The first lock of a peer takes 46 bytes. With a second one, the list moves to the heap.
const LOCK: u64 = 112;
const WAITER: u64 = 45;
/// A label without its name and value: 70 bytes if a peer has many, 120 if it has one.
const LABEL: u64 = 120;
/// What `limits.label_bytes` counts for a label besides its text.
const COUNTED_LABEL: u64 = 64;
/// 15 kB if idle or with a waiting request; a part of an incomplete head is kept twice.
const CONNECTION: u64 = 24 * 1024;
/// Two pages, one of them being written, the copies of the HTTP library, and the compressor: up to 370 kB.
const LISTING: u64 = 400_000;
/// The cache of the engine, and twice 16 MiB for the largest batch while it is written.
const STORE: u64 = throttle_store::CACHE_BYTES as u64 + (32 << 20);
/// The bytes read behind a waiting request: 64 KiB at most, in a buffer that doubles and in one of the HTTP library.
const READ_AHEAD: u64 = 160 * 1024;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn memory(text: &str) -> Memory {
        Memory::of(&Config::parse(text, Path::new("throttle.toml")).unwrap())
    }

    #[test]
    fn the_estimate_follows_the_limits() {
        let one = memory("[limits]\npeers = 1\nwaiters = 1\nconnections = 1\nlabels = 1");
        assert_eq!((one.peers, one.waiters, one.semaphores), (PEER, 0, 0));
        assert_eq!(one.labels, LABEL + 2 * 256);
        // The slack is 1,024 connections.
        assert_eq!(one.connections, 1_025 * (CONNECTION + 65_536 + 3 * 65_536));
        let text = "[semaphores]\nA = 3\nB = 9007199254740991\n[limits]\npeers = 10\nwaiters = 2\n\
            labels = 0\nconnections = 7\nhead = 8_192\nbody = 1";
        let some = memory(text);
        assert_eq!(some.peers, 10 * PEER + 13 * LOCK);
        assert_eq!((some.waiters, some.labels), (4 * WAITER, 0));
        assert_eq!(some.connections, 1_031 * (CONNECTION + 8_192 + READ_AHEAD));
        let of_name = |name: &str| memory(&format!("[semaphores]\n{name} = 1")).semaphores;
        assert_eq!(of_name(&"A".repeat(1_000)) - of_name("A"), 999 * NAMES);
        let bounded = memory("[limits]\nlabel_bytes = 64\nlistings = 2");
        assert_eq!((bounded.labels, bounded.listings), (LABEL, 2 * LISTING));
        assert_eq!((bounded.store, memory("[store]").store), (0, STORE));
    }

    #[test]
    fn the_largest_limits_do_not_overflow() {
        let most = u32::MAX;
        let text = format!(
            "[semaphores]\nA = 9007199254740991\n[limits]\npeers = {most}\nwaiters = {most}\n\
            connections = {most}\nhead = {most}\nbody = {most}\nlabels = {most}\nlabel_length = {most}"
        );
        assert!(memory(&text).sum() > u64::from(most));
    }
}
