//! Measures the store on this disk: commits a second beside the raw disk, size, growth and recovery.
//!
//! Run with `cargo run --release -p throttle-store --example measure -- DIRECTORY [PEERS]`. Without a directory it
//! measures a few peers in a temporary one, which shows only that it works.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a report of measurements")]

use std::{
    collections::BTreeSet,
    error::Error,
    fs::{self, File},
    hint::black_box,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use throttle_core::{Count, FencingToken, HeldRecord, PeerId, Sequence};
use throttle_runtime::{Batch, Meta, PeerChange, PeerRecord, Store, UnixTime};
use throttle_store::{Embedded, StateFile};

type Outcome<T> = Result<T, Box<dyn Error>>;

const META: Meta = Meta { id: 1, made_at: UnixTime(0), token_floor: FencingToken::MAX };
/// How many commits of each size are measured at most, and for how long.
const COMMITS: usize = 10_000;
const TIME: Duration = Duration::from_secs(2);

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        None => measure(tempfile::tempdir()?.path(), 1_000, 20),
        Some(directory) => {
            let peers = arguments.next().map_or(Ok(1_000_000), |it| it.parse())?;
            measure(Path::new(&directory), peers, COMMITS)
        }
    }
}

fn measure(directory: &Path, peers: u64, most: usize) -> Outcome<()> {
    let path = directory.join("measure.redb");
    fs::remove_file(&path).ok();

    let mut store = Embedded::open(&path)?;
    let mut random = Random(1);
    let mut ids: Vec<u64> = (0..peers).map(|_| random.id()).collect();
    fill(&mut store, &ids)?;
    let size = size(&path)?;
    println!("{peers} peers: {size} bytes, {} a peer", size / peers);
    for batch in [1, 16, 64, 256, 1000] {
        commits(&mut store, directory, &ids, (batch, most), &mut random)?;
    }
    churn(&mut store, &path, &mut ids, &mut random)?;
    memory()?;

    let crashed = directory.join("crashed.redb");
    fs::copy(&path, &crashed)?; // Nothing says that it was closed, as after SIGKILL.
    drop(store);
    reopen("after a crash", &crashed)?;
    reopen("after it was closed", &path)?;
    state_file(directory, &ids)?;
    memory()
}

fn fill(store: &mut Embedded, ids: &[u64]) -> Outcome<()> {
    store.write(&Batch { meta: Some(META), ..Batch::default() })?;
    ids.chunks(store.max_batch()).try_for_each(|ids| Ok(store.write(&living(ids, 0))?))
}

/// Batches of random peers, beside appending and syncing 100 bytes for each.
fn commits(
    store: &mut Embedded,
    directory: &Path,
    ids: &[u64],
    (batch, most): (usize, usize),
    random: &mut Random,
) -> Outcome<()> {
    let mut file = File::create(directory.join("raw"))?;
    let bytes = vec![7; batch * 100];
    let raw = rate(most, |_| {
        file.write_all(&bytes)?;
        Ok(file.sync_data()?)
    })?;
    let batches = |round| {
        let chosen: BTreeSet<u64> = (0..batch).map(|_| ids[random.below(ids.len())]).collect();
        Ok(store.write(&living(&chosen.into_iter().collect::<Vec<_>>(), round))?)
    };
    println!("batch of {batch}: {}; raw: {raw}", rate(most, batches)?);
    fs::remove_file(directory.join("raw"))?;
    Ok(())
}

/// Commits a second with their median and 99th percentile.
fn rate(most: usize, mut commit: impl FnMut(u64) -> Outcome<()>) -> Outcome<String> {
    let started = Instant::now();
    let mut times = Vec::new();
    while started.elapsed() < TIME && times.len() < most {
        let before = Instant::now();
        commit(times.len() as u64)?;
        times.push(before.elapsed());
    }
    let mean = started.elapsed() / u32::try_from(times.len())?;
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    Ok(format!("{:.0}/s, p50 {p50:?}, p99 {p99:?}", 1.0 / mean.as_secs_f64()))
}

/// Replaces peers by new ones, 200 changes in a batch, until each was replaced about once.
fn churn(store: &mut Embedded, path: &Path, ids: &mut [u64], random: &mut Random) -> Outcome<()> {
    let batches = (ids.len() / 100).min(4000);
    println!("size before peers are replaced: {}", size(path)?);
    for turn in 1..=batches {
        let mut changes = Batch::default();
        for _ in 0..100 {
            let (id, place) = (random.id(), random.below(ids.len()));
            let gone = std::mem::replace(&mut ids[place], id);
            changes.peers.push((peer(id)?, PeerChange::Living(record(id, 1))));
            changes.peers.push((peer(gone)?, PeerChange::Gone));
        }
        store.write(&changes)?;
        if turn.is_multiple_of(batches / 4) {
            println!("size after {} were replaced: {}", turn * 100, size(path)?);
        }
    }
    Ok(())
}

fn reopen(when: &str, path: &Path) -> Outcome<()> {
    let started = Instant::now();
    let mut store = Embedded::open(path)?;
    let opened = started.elapsed();
    let records = load(&mut store)?;
    let loaded = started.elapsed() - opened;
    println!("{when}: opened in {opened:?}, {records} records loaded in {loaded:?}");
    Ok(())
}

fn state_file(directory: &Path, ids: &[u64]) -> Outcome<()> {
    let path = directory.join("state");
    let batches: Vec<_> = ids.chunks(10_000).map(|ids| living(ids, 0)).collect();
    let started = Instant::now();
    let mut file = StateFile::create(&path, UnixTime(0))?;
    file.write(&Batch { meta: Some(META), ..Batch::default() })?;
    batches.iter().try_for_each(|batch| file.write(batch))?;
    file.finish()?;
    let written = started.elapsed();
    let mut file = StateFile::open(&path, UnixTime(0))?.ok_or("it is not there")?;
    let checked = started.elapsed() - written;
    let records = load(&mut file)?;
    let loaded = started.elapsed() - written - checked;
    println!(
        "state file of {} bytes: written in {written:?}, checked in {checked:?}, {records} records loaded in {loaded:?}",
        size(&path)?
    );
    Ok(())
}

fn load(store: &mut dyn Store) -> Outcome<u64> {
    let mut records = 0;
    store.load(&mut |record| {
        records += 1;
        black_box(record);
        Ok(())
    })?;
    Ok(records)
}

fn size(path: &Path) -> Outcome<u64> {
    Ok(fs::metadata(path)?.len())
}

fn memory() -> Outcome<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("memory at most: {peak}");
    Ok(())
}

fn peer(id: u64) -> Outcome<PeerId> {
    Ok(PeerId::new(id).ok_or("zero is no id")?)
}

fn living(ids: &[u64], round: u64) -> Batch {
    let peers = ids
        .iter()
        .filter_map(|&id| Some((PeerId::new(id)?, PeerChange::Living(record(id, round)))));
    Batch { peers: peers.collect(), ..Batch::default() }
}

/// A peer with two labels and a lock: about 100 bytes.
fn record(id: u64, round: u64) -> PeerRecord {
    let number = 1_796_083_200_000 + round;
    let labels = [("host", format!("worker-{}", id % 1000)), ("job", "nightly-import".to_owned())];
    PeerRecord {
        id: PeerId::new(id).unwrap_or(PeerId::new(1).expect("it is not zero")),
        expires_in: Duration::from_secs(60),
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        sequence: Sequence::new(number).unwrap_or_default(),
        held: vec![HeldRecord {
            semaphore: Arc::from("database"),
            count: Count::ONE,
            token: FencingToken::new(7_000_000_000_000 + round).unwrap_or(FencingToken::MAX),
            since: UnixTime(number),
        }],
        pending: None,
    }
}

/// A generator of pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Of 53 bits, as those that the server draws.
    const fn id(&mut self) -> u64 {
        (self.next() >> 11) | 1
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap_or(0) % limit
    }
}
