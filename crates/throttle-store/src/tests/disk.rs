//! D2 and D4 on a disk that loses what was not synced, tears writes and fails.

use std::{collections::BTreeMap, sync::Arc};

use crate::testing::{Fault, LyingDisk, Operation, Replay, UnsyncedFile, open};
use throttle_core::Sequence;
use throttle_runtime::{AbsentRecord, Store as _};
use throttle_runtime::{Batch, Meta, PeerChange, PeerRecord, Record, SemaphoreRecord, StoreError};

use super::samples::{META, absent, bare, gone, id, living, load, peer, semaphore};

/// What a store must hold, by the simplest means.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Model {
    meta: Option<Meta>,
    semaphores: BTreeMap<Arc<str>, SemaphoreRecord>,
    peers: BTreeMap<u64, PeerRecord>,
    absent: BTreeMap<u64, AbsentRecord>,
}

impl Model {
    fn apply(&mut self, batch: &Batch) {
        self.meta = batch.meta.or(self.meta);
        for (name, record) in &batch.semaphores {
            self.semaphores.remove(name);
            self.semaphores.extend(record.clone().map(|record| (Arc::clone(name), record)));
        }
        for (id, change) in &batch.peers {
            self.peers.remove(&id.get());
            self.absent.remove(&id.get());
            match change {
                PeerChange::Living(record) => {
                    self.peers.insert(id.get(), record.clone());
                }
                PeerChange::Absent(record) => {
                    self.absent.insert(id.get(), *record);
                }
                PeerChange::Gone => {}
            }
        }
    }

    fn contents(&self) -> (Option<Meta>, Vec<Record>) {
        let semaphores = self.semaphores.values().cloned().map(Record::Semaphore);
        let peers = self.peers.values().cloned().map(Record::Peer);
        let absent = self.absent.values().copied().map(Record::Absent);
        (self.meta, semaphores.chain(peers).chain(absent).collect())
    }
}

/// Batches, and what the store holds after each number of them. Every batch changes the contents.
struct History {
    batches: Vec<Batch>,
    contents: Vec<(Option<Meta>, Vec<Record>)>,
}

impl History {
    fn new(batches: Vec<Batch>) -> Self {
        let mut model = Model::default();
        let after = batches.iter().map(|batch| {
            model.apply(batch);
            model.contents()
        });
        let contents = [(None, Vec::new())].into_iter().chain(after).collect::<Vec<_>>();
        assert!(contents.windows(2).all(|pair| pair[0] != pair[1]), "a prefix is recognised");
        Self { batches, contents }
    }

    /// A few batches with all kinds of changes.
    fn short() -> Self {
        let first = Batch {
            meta: Some(META),
            semaphores: vec![(Arc::from("db"), Some(semaphore("db")))],
            peers: Vec::new(),
        };
        let of = |peers| Batch { peers, ..Batch::default() };
        Self::new(vec![
            first,
            of(vec![living(peer(1)), living(bare(2))]),
            of(vec![gone(absent(1)), living(peer(2))]),
            of((3..60).map(|number| living(peer(number))).collect()),
            Batch { semaphores: vec![(Arc::from("db"), None)], ..of(vec![living(bare(1))]) },
            of((2..59).map(|number| (id(number), PeerChange::Gone)).collect()),
        ])
    }

    /// Many batches of random changes.
    fn random(random: &mut Random, batches: usize) -> Self {
        let mut made = vec![Batch { meta: Some(META), ..Batch::default() }];
        for turn in 1..batches {
            let mut peers = BTreeMap::new();
            for _ in 0..random.below(40) {
                let number = 1 + random.below(300);
                let change = match random.below(4) {
                    0 => gone(absent(number)),
                    1 => (id(number), PeerChange::Gone),
                    _ => living(peer(number)),
                };
                peers.insert(number, change);
            }
            // One record that is never the same makes each prefix unique.
            let mut unique = bare(1000);
            unique.sequence = Sequence::new(turn as u64).unwrap();
            let peers = peers.into_values().chain([living(unique)]).collect();
            made.push(Batch { peers, ..Batch::default() });
        }
        Self::new(made)
    }

    /// Writes batches until one fails. Returns after how many operations of the disk each number of batches was
    /// acknowledged, beginning with none.
    fn run(&self, disk: &LyingDisk) -> (Vec<usize>, Result<(), StoreError>) {
        let mut acknowledged = Vec::new();
        let result = (|| {
            let mut store = open("it", disk.clone())?;
            acknowledged.push(disk.len());
            let reader = store.reader();
            // Keeps pages of earlier batches from being used again, for some batches.
            let mut snapshot = reader.snapshot();
            for (number, batch) in self.batches.iter().enumerate() {
                if number.is_multiple_of(5) {
                    snapshot = reader.snapshot();
                }
                if let Err(error) = store.write(batch) {
                    // D4
                    assert!(self.batches.iter().all(|batch| store.write(batch).is_err()));
                    return Err(error);
                }
                acknowledged.push(disk.len());
            }
            drop(snapshot);
            Ok(())
        })();
        (acknowledged, result)
    }

    /// D2: the image opens, and holds a prefix of the batches with at least `acknowledged` of them, and at most the
    /// next one. Returns the disk on which it was opened.
    fn check(&self, image: Vec<u8>, acknowledged: usize) -> LyingDisk {
        let disk = LyingDisk::new(image);
        let contents = load(&mut open("it", disk.clone()).expect("it opens")).expect("it loads");
        let last = self.contents.len().min(acknowledged + 2);
        let found = self.contents[acknowledged..last].contains(&contents);
        let other = self.contents.iter().position(|other| *other == contents);
        assert!(found, "{acknowledged} batches were acknowledged, and {other:?} are there");
        disk
    }
}

/// A generator of pseudo-random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Images of a crash: nothing, everything, one operation missing, and random parts.
fn images(replay: &Replay, random: &mut Random, parts: usize) -> Vec<Vec<u8>> {
    let uncertain = replay.uncertain();
    let mut images = vec![replay.image(|_| false)];
    if uncertain > 0 {
        images.push(replay.image(|_| true));
    }
    if uncertain > 1 {
        images.extend((0..uncertain).map(|one| replay.image(|position| position != one)));
        images.extend((0..parts).map(|_| replay.image(|_| random.coin())));
        images.extend((0..parts).map(|_| replay.torn_image(|| random.coin())));
    }
    images
}

/// How many batches were acknowledged when this many operations had been done.
fn acknowledged_at(acknowledged: &[usize], operations: usize) -> Option<usize> {
    acknowledged.iter().rposition(|at| *at <= operations)
}

/// D2
#[test]
fn after_a_crash_at_any_operation_a_prefix_with_all_acknowledged_batches_is_there() {
    let history = History::short();
    let mut random = Random(1);
    let disk = LyingDisk::default();
    let (acknowledged, result) = history.run(&disk);
    result.unwrap();
    let mut replay = Replay::new(Vec::new());
    let mut crashes = 0;
    for (done, operation) in disk.operations().into_iter().enumerate() {
        replay.step(operation);
        // Before the first acknowledgement the file is still being made beside its place.
        let Some(acknowledged) = acknowledged_at(&acknowledged, done + 1) else { continue };
        for image in images(&replay, &mut random, 1) {
            history.check(image, acknowledged);
            crashes += 1;
        }
    }
    assert!(crashes > 300, "{crashes}");
}

/// D2
#[test]
fn a_crash_during_the_recovery_from_a_crash_loses_nothing_either() {
    let history = History::short();
    let mut random = Random(2);
    let disk = LyingDisk::default();
    let (acknowledged, _) = history.run(&disk);
    let mut replay = Replay::new(Vec::new());
    let mut crashes = 0;
    for (done, operation) in disk.operations().into_iter().enumerate() {
        replay.step(operation);
        let Some(acknowledged) = acknowledged_at(&acknowledged, done + 1) else { continue };
        if random.below(32) != 0 {
            continue;
        }
        let image = replay.torn_image(|| random.coin());
        let recovery = history.check(image.clone(), acknowledged);
        let mut again = Replay::new(image);
        for operation in recovery.operations() {
            again.step(operation);
            for image in
                [again.image(|_| false), again.image(|_| true), again.torn_image(|| random.coin())]
            {
                history.check(image, acknowledged);
                crashes += 1;
            }
        }
    }
    assert!(crashes > 20, "{crashes}");
}

/// D2
#[test]
fn after_a_crash_in_a_long_history_a_prefix_with_all_acknowledged_batches_is_there() {
    let mut random = Random(3);
    let history = History::random(&mut random, 60);
    let disk = LyingDisk::default();
    let (acknowledged, result) = history.run(&disk);
    result.unwrap();
    let mut replay = Replay::new(Vec::new());
    let mut crashes = 0;
    for (done, operation) in disk.operations().into_iter().enumerate() {
        replay.step(operation);
        let Some(acknowledged) = acknowledged_at(&acknowledged, done + 1) else { continue };
        if random.below(10) == 0 {
            history.check(replay.torn_image(|| random.coin()), acknowledged);
            crashes += 1;
        }
    }
    assert!(crashes > 20, "{crashes}");
}

/// D4
#[test]
fn after_an_operation_that_failed_nothing_is_written_and_reopening_finds_all_that_was_acknowledged()
{
    let history = History::short();
    let mut random = Random(4);
    let faultless = LyingDisk::default();
    history.run(&faultless).1.unwrap();
    let mut failures = 0;
    for (at, operation) in faultless.operations().iter().enumerate() {
        let faults: &[_] = match operation {
            Operation::Sync => &[Fault::Unsynced],
            _ => &[Fault::Refused, Fault::Full],
        };
        for fault in faults {
            let disk = LyingDisk::default();
            disk.fail_at(at, *fault);
            let (acknowledged, result) = history.run(&disk);
            if let Err(error) = result {
                failures += 1;
                let says_what_to_do = error.to_string().contains("make room on that disk");
                assert_eq!(says_what_to_do, *fault == Fault::Full, "{error}");
            }
            let Some(acknowledged) = acknowledged.len().checked_sub(1) else { continue };
            let mut replay = Replay::new(Vec::new());
            disk.operations().into_iter().for_each(|operation| replay.step(operation));
            let images = [replay.image(|_| false), replay.torn_image(|| random.coin())];
            for image in images {
                history.check(image, acknowledged);
            }
        }
    }
    assert!(failures > 50, "{failures}");
}

/// The bytes of a disk after this many operations, all of which took place.
fn image_after(disk: &LyingDisk, operations: usize) -> Vec<u8> {
    let mut replay = Replay::new(Vec::new());
    disk.operations().into_iter().take(operations).for_each(|operation| replay.step(operation));
    replay.image(|_| true)
}

/// Changes bytes all over an image. Each store that opens must hold one of `contents`. Returns how many did not
/// open, and how many held another one than the last.
fn change_bytes(image: &[u8], contents: &[(Option<Meta>, Vec<Record>)]) -> (usize, usize) {
    let (mut refused, mut earlier) = (0, 0);
    for position in (0..image.len()).step_by(997) {
        let mut changed = image.to_vec();
        changed[position] ^= 0x10;
        match open("it", LyingDisk::new(changed)) {
            Ok(mut store) => {
                let found = load(&mut store).unwrap();
                assert!(contents.contains(&found), "byte {position}");
                earlier += usize::from(Some(&found) != contents.last());
            }
            Err(error) => {
                assert!(error.to_string().starts_with("it "), "{error}");
                refused += 1;
            }
        }
    }
    (refused, earlier)
}

/// D5
#[test]
fn a_closed_store_with_a_changed_byte_is_refused_unless_nothing_depends_on_it() {
    let disk = LyingDisk::default();
    let History { contents, .. } = History::short();
    History::short().run(&disk).1.unwrap();
    let (refused, earlier) = change_bytes(&image_after(&disk, disk.len()), &contents);
    assert!(refused > 5, "{refused}");
    assert_eq!(earlier, 0);
}

/// After a crash, a damaged page of the last batch looks like one that was not written. That batch is lost then, also
/// if it was acknowledged: no crash does this, but a disk that damages what it has stored.
#[test]
fn a_crashed_store_with_a_changed_byte_is_refused_or_lacks_the_last_batch() {
    let disk = LyingDisk::default();
    let History { contents, .. } = History::short();
    let (acknowledged, _) = History::short().run(&disk);
    let image = image_after(&disk, *acknowledged.last().unwrap());
    let (refused, earlier) = change_bytes(&image, &contents[contents.len() - 2..]);
    assert!(refused > 0 && earlier > 0, "{refused} refused, {earlier} without the last batch");
}

/// The tests above would see it.
#[test]
#[should_panic(expected = "were acknowledged, and")]
fn a_disk_that_does_not_sync_loses_what_was_acknowledged() {
    let history = History::short();
    let disk = LyingDisk::default();
    let (acknowledged, _) = history.run(&disk);
    let mut replay = Replay::new(Vec::new());
    for (done, operation) in disk.operations().into_iter().enumerate() {
        let Some(acknowledged) = acknowledged_at(&acknowledged, done + 1) else {
            replay.step(operation);
            continue;
        };
        if operation != Operation::Sync {
            replay.step(operation);
        }
        history.check(replay.image(|_| false), acknowledged);
    }
}

/// The negative control of tests that kill a server.
#[test]
fn a_file_with_untrue_syncs_loses_acknowledged_batches_if_its_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let batches = History::short().batches;
    let left_after_kill = |name: &str, every| {
        let path = directory.path().join(name);
        let mut store = open("it", UnsyncedFile::open(&path, every).unwrap()).unwrap();
        batches.iter().for_each(|batch| store.write(batch).unwrap());
        let left = std::fs::read(&path).unwrap();
        drop(store); // What this writes, a killed process does not.
        let closed = load(&mut open("it", UnsyncedFile::open(&path, 1).unwrap()).unwrap()).unwrap();
        assert_eq!(closed, *History::short().contents.last().unwrap());
        left
    };
    History::short().check(left_after_kill("honest", 1), batches.len());
    let left = left_after_kill("untrue", 1000);
    assert!(left.is_empty());
}
