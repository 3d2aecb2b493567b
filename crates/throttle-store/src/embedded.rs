//! The durable store: a redb file that holds the present state of a server.
//!
//! A batch is one transaction with one sync (`Durability::Immediate`). `examples/measure.rs` measured the following
//! on a virtual disk that makes 7,000 appends of 100 bytes durable in a second (0.14 ms each), with records of 70
//! bytes of random peers:
//!
//! | batch | 1,000 peers in the file | 1,000,000 peers |
//! |---|---|---|
//! | 1 | 0.18 ms, 5,200/s | 0.18 ms, 5,300/s |
//! | 16 | 0.29 ms, 53,000 records/s | 0.65 ms, 24,000 records/s |
//! | 64 | 0.40 ms, 156,000 records/s | 1.9 ms, 34,000 records/s |
//! | 256 | 0.57 ms, 435,000 records/s | 6.6 ms, 36,000 records/s |
//! | 1,000 | 0.84 ms, 1,100,000 records/s | 20 ms, 50,000 records/s |
//!
//! Among a million peers, each of a batch stands on a page of its own, and a page that changes is written as a
//! whole.
//!
//! - *Size*: 143 bytes for a peer with two labels and a lock. Space of records that are gone is used again: after
//!   400,000 of a million peers were replaced, the file has the same size. It never shrinks; an export and an import
//!   make a small one of it.
//! - *Opening* compares all checksums, whether the file was closed or not: 0.16 s for a million peers. Loading them
//!   takes 0.4 s.
//! - *Damage*: a file that was closed and is damaged later is refused. After a crash, damage to a page of the last
//!   batch looks like a page that was not written, and the file opens with the batch before. No crash damages a page
//!   that was synced. Two syncs for each commit would tell the difference.
//! - *No quick repair*: redb could save in each commit what it otherwise finds out by reading the file after a crash.
//!   A commit then needs two syncs (0.39 ms instead of 0.18 ms), to save those 0.16 s.
//! - *Exclusive*: redb's modes for several processes need two syncs as well. A tool cannot read the file of a running
//!   server; it asks the server for an export.
//! - *Cache*: with 8 or 256 MiB the figures above are the same, because the system caches the file, too.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    path::Path,
    sync::Arc,
};

use redb::{Database, StorageBackend, WriteTransaction, backends::FileBackend};
use throttle_core::PeerId;
use throttle_runtime::{Batch, Meta, PeerChange, Record, SemaphoreRecord, Store, StoreError};

use crate::{
    engine,
    files::{Place, beside, private, sync_directory},
    format::{encode_absent, encode_peer, encode_semaphore},
    snapshot::{Reader, Snapshot},
    tables::{ABSENT, FORMAT, META, PEERS, SEMAPHORES, meta},
};

/// A store in a file of its own, on the disk of the server.
///
/// Only one process has it open at a time. Dropping it closes the file.
///
/// A store is complete as soon as it has a meta record. Until then nobody has been shown anything of it. If its first
/// filling was interrupted, it is empty when it is opened again.
pub struct Embedded {
    name: Arc<str>,
    /// Where the file is, unless the store is not in a file of the system.
    place: Option<Place>,
    database: Arc<Database>,
    /// Set by the first write that fails. What reached the disk is unknown from then on.
    failed: bool,
    /// The record that is being encoded.
    bytes: Vec<u8>,
    /// The order in which the records of a batch are written.
    order: Vec<usize>,
}

impl Embedded {
    /// Opens the store at `path`, and makes it if there is no such file.
    ///
    /// This reads the whole file to compare its checksums, which takes 0.2 s for a million peers.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be opened or made, if another process has it open, if it is not a store,
    /// if it is damaged, or if it has a format that this version cannot read. The file is then as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let name = engine::name(path);
        let backend = match existing(&name, path)? {
            Some(file) => file,
            None => {
                make(&name, path, |_| Ok(()))?;
                existing(&name, path)?.ok_or_else(|| {
                    StoreError::new(format!("{name} was removed while it was being made"))
                })?
            }
        };
        let place = Place::of(path);
        let place = place.map_err(|error| engine::io(&name, "cannot be opened", &error))?;
        Ok(Self { place: Some(place), ..Self::open_on(&name, backend)? })
    }

    /// Opens the store in `backend`, and makes it if the backend is empty. `name` stands for it in messages.
    pub(crate) fn open_on(name: &str, backend: impl StorageBackend) -> Result<Self, StoreError> {
        let name = Arc::<str>::from(name);
        let database = engine::open(&name, backend)?;
        let before = Snapshot::take(&name, &database)?;
        let new = before.is_new()?;
        let unfinished = !new && before.is_unfinished()?;
        drop(before);
        let mut store = Self {
            name,
            place: None,
            database: Arc::new(database),
            failed: false,
            bytes: Vec::new(),
            order: Vec::new(),
        };
        if new {
            store.commit(|transaction, _, _| {
                transaction.open_table(META)?.insert(meta::FORMAT, FORMAT)?;
                Ok(())
            })?;
        }
        if unfinished {
            store.commit(|transaction, _, _| {
                transaction.delete_table(SEMAPHORES)?;
                transaction.delete_table(PEERS)?;
                transaction.delete_table(ABSENT)?;
                Ok(())
            })?;
        }
        Snapshot::take(&store.name, &store.database)?.meta()?;
        Ok(store)
    }

    /// A way to take snapshots of this store later, from any thread, while the server owns it and writes to it.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.name), &self.database)
    }

    fn commit(
        &mut self,
        write: impl FnOnce(&WriteTransaction, &mut Vec<u8>, &mut Vec<usize>) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::new(format!(
                "{} is not written to any more, because an earlier write failed: restart the server",
                self.name
            )));
        }
        let Self { name, place, database, bytes, order, .. } = self;
        let result = engine::guarded(name, || {
            let commit = || {
                let transaction = database.begin_write()?;
                write(&transaction, bytes, order)?;
                transaction.commit()?;
                Ok::<_, redb::Error>(())
            };
            commit().map_err(|error| engine::failed(name, "cannot be written", error))?;
            // Another server may use a new file at this path, and the next start would not find this one.
            if place.as_ref().is_some_and(|place| !place.is_same()) {
                return Err(StoreError::new(format!(
                    "{name} was moved or deleted while it was in use: put it back, and let no second server use \
                     that path"
                )));
            }
            Ok(())
        });
        self.failed = result.is_err();
        result
    }
}

impl Store for Embedded {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        Snapshot::take(&self.name, &self.database)?.records(receive)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.commit(|transaction, bytes, order| {
            if let Some(meta) = &batch.meta {
                write_meta(transaction, meta)?;
            }
            if !batch.semaphores.is_empty() {
                write_semaphores(transaction, &batch.semaphores, bytes, order)?;
            }
            if !batch.peers.is_empty() {
                write_peers(transaction, &batch.peers, bytes, order)?;
            }
            Ok(())
        })
    }

    fn max_batch(&self) -> usize {
        MAX_BATCH
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedded").field(&self.name).finish()
    }
}

/// How many records a transaction may have. One of random peers among a million takes 0.1 s, and 16 MiB of memory.
pub(crate) const MAX_BATCH: usize = 4096;

fn write_meta(transaction: &WriteTransaction, meta: &Meta) -> Result<(), redb::Error> {
    let Meta { id, made_at, token_floor } = *meta;
    let mut table = transaction.open_table(META)?;
    table.insert(meta::ID, id)?;
    table.insert(meta::MADE_AT, made_at.0)?;
    table.insert(meta::TOKEN_FLOOR, token_floor.get())?;
    Ok(())
}

fn write_semaphores(
    transaction: &WriteTransaction,
    semaphores: &[(Arc<str>, Option<SemaphoreRecord>)],
    bytes: &mut Vec<u8>,
    order: &mut Vec<usize>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(SEMAPHORES)?;
    for (name, record) in sorted(semaphores, order) {
        match record {
            Some(record) => {
                encode_semaphore(record, bytes);
                table.insert(&**name, &**bytes)?;
            }
            None => {
                table.remove(&**name)?;
            }
        }
    }
    Ok(())
}

fn write_peers(
    transaction: &WriteTransaction,
    peers: &[(PeerId, PeerChange)],
    bytes: &mut Vec<u8>,
    order: &mut Vec<usize>,
) -> Result<(), redb::Error> {
    let mut living = transaction.open_table(PEERS)?;
    let mut absent = transaction.open_table(ABSENT)?;
    for (id, change) in sorted(peers, order) {
        let id = id.get();
        match change {
            PeerChange::Living(record) => {
                encode_peer(record, bytes);
                living.insert(id, &**bytes)?;
                absent.remove(id)?;
            }
            PeerChange::Absent(record) => {
                encode_absent(record, bytes);
                living.remove(id)?;
                absent.insert(id, &**bytes)?;
            }
            PeerChange::Gone => {
                living.remove(id)?;
                absent.remove(id)?;
            }
        }
    }
    Ok(())
}

/// The changes in the order of their keys, so that those on one page of the file follow each other.
fn sorted<'a, K: Ord, V>(
    changes: &'a [(K, V)],
    order: &'a mut Vec<usize>,
) -> impl Iterator<Item = &'a (K, V)> {
    order.clear();
    order.extend(0..changes.len());
    order.sort_unstable_by(|a, b| changes[*a].0.cmp(&changes[*b].0));
    order.iter().map(|index| &changes[*index])
}

/// The file at `path`, or `None` if there is none.
fn existing(name: &str, path: &Path) -> Result<Option<FileBackend>, StoreError> {
    let failed = |error| engine::io(name, "cannot be opened", &error);
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    engine::require_regular(name, &metadata)?;
    if metadata.len() == 0 {
        // A store is never empty, so something else has emptied it.
        return Err(engine::damaged(name, "it is empty"));
    }
    backend(name, file).map(Some)
}

fn backend(name: &str, file: File) -> Result<FileBackend, StoreError> {
    let failed = |error| engine::failed(name, "cannot be opened", error);
    let backend = FileBackend::new(file).map_err(failed)?;
    engine::require_locks(name, &backend)?;
    Ok(backend)
}

/// Makes a store at `path`, with what `fill` writes to it.
///
/// That takes several writes. They go to a file beside it, which gets its name when it is complete, so a crash leaves
/// either no store or one that opens. Where two servers do this at once, the second one fails.
pub(crate) fn make<T>(
    name: &str,
    path: &Path,
    fill: impl FnOnce(&mut Embedded) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let failed = |error| engine::io(name, "cannot be made", &error);
    let beside = &*beside(path, ".new");
    match fs::remove_file(beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = private(&mut OpenOptions::new()).read(true).create_new(true).open(beside);
    let file = file.map_err(failed)?;
    let synced = file.try_clone().map_err(failed)?;
    let filled =
        Embedded::open_on(name, backend(name, file)?).and_then(|mut store| fill(&mut store));
    if filled.is_err() {
        // The error says more than one of the removal would.
        let _ = fs::remove_file(beside);
    }
    let filled = filled?;
    synced.sync_all().map_err(failed)?;
    // In contrast to a renaming, a link never replaces a file.
    let placed = fs::hard_link(beside, path).and_then(|()| fs::remove_file(beside));
    match placed {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let _ = fs::remove_file(beside);
            return Err(StoreError::new(format!(
                "{name} cannot be made: another process has just made it, or it is a link to a file that does not \
                 exist; give the path of the file itself then"
            )));
        }
        Err(error)
            if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) =>
        {
            fs::rename(beside, path).map_err(failed)?;
        }
        placed => placed.map_err(failed)?,
    }
    sync_directory(path).map_err(failed)?;
    Ok(filled)
}
