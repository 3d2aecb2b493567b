//! For operators: reading a file without changing it, exports and imports.

use std::{
    fs::File,
    io::{BufRead, BufWriter, Read as _, Write},
    path::Path,
    sync::Arc,
};

use redb::{
    BackendError, Database, StorageBackend as _,
    backends::{FileBackend, InMemoryBackend},
};
use throttle_runtime::{
    Batch, FencingToken, Meta, PeerChange, Record, SemaphoreRecord, Store as _, StoreError,
    UnixTime,
};

use crate::{
    embedded::{MAX_BATCH, make},
    engine,
    lines::{Header, LineReader, LineWriter},
    snapshot::{Counts, Receive, Records, Snapshot},
    state_file::{StateFile, explain},
    verify::verify_records,
};

/// A store or a state file that is read only.
#[derive(Debug)]
pub enum Archive {
    /// A store. It was copied into memory.
    Store(CopiedStore),
    /// A state file, or an export.
    StateFile(StateFile),
}

/// A store in memory, as it was in its file.
#[derive(Debug)]
pub struct CopiedStore {
    /// What the snapshot is of.
    _database: Database,
    snapshot: Snapshot,
}

/// Opens the store, the state file or the export at `path` without changing it. It takes as much memory as a store
/// has bytes: the store is copied, so that also one can be read that a crash has left to be repaired.
///
/// # Errors
///
/// [`StoreError`] if it cannot be read, if a server has it open, if it is damaged, or if it has a format that this
/// version cannot read.
pub fn open_read_only(path: impl AsRef<Path>) -> Result<Archive, StoreError> {
    let path = path.as_ref();
    let name = engine::name(path);
    let bytes = read(&name, path)?;
    if bytes.starts_with(b"{") {
        let file = StateFile::open_of_any_age(path)?;
        let file = file.ok_or_else(|| StoreError::new(format!("{name} was removed meanwhile")))?;
        return Ok(Archive::StateFile(file));
    }
    if bytes.is_empty() {
        return Err(engine::damaged(&name, "it is empty"));
    }
    let memory = InMemoryBackend::new();
    let fill = || {
        memory.set_len(bytes.len() as u64)?;
        memory.write(0, &bytes)
    };
    fill().map_err(|error| engine::io(&name, "cannot be copied", &error))?;
    let name = Arc::<str>::from(name);
    let database = engine::open(&name, memory)?;
    let snapshot = Snapshot::take(&name, &database)?;
    snapshot.meta()?;
    Ok(Archive::Store(CopiedStore { _database: database, snapshot }))
}

/// The bytes of a file that no server has open.
fn read(name: &str, path: &Path) -> Result<Vec<u8>, StoreError> {
    let failed = |error| engine::io(name, "cannot be read", &error);
    let file = File::open(path).map_err(failed)?;
    let mut copy = file.try_clone().map_err(failed)?;
    let lock =
        FileBackend::new(file).map_err(|error| engine::failed(name, "cannot be read", error))?;
    match lock.try_lock_shared_range(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded) {
        Ok(true) | Err(BackendError::Unsupported) => {}
        Ok(false) => {
            return Err(StoreError::new(format!(
                "{name} is in use by a server: stop it, or ask it for a copy with `throttle store \
                 backup`"
            )));
        }
        Err(error) => return Err(failed(error.into())),
    }
    let mut bytes = Vec::new();
    copy.read_to_end(&mut bytes).map_err(failed)?;
    lock.close().map_err(failed)?;
    Ok(bytes)
}

impl Archive {
    fn records_of(&self) -> &dyn Records {
        match self {
            Self::Store(store) => &store.snapshot,
            Self::StateFile(file) => file,
        }
    }
}

impl Records for Archive {
    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.records_of().meta()
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        self.records_of().counts()
    }

    fn records(&self, receive: &mut Receive<'_>) -> Result<Option<Meta>, StoreError> {
        self.records_of().records(receive)
    }
}

/// Writes all records as lines of JSON.
///
/// # Errors
///
/// [`StoreError`] if there are none because the store is new, if they cannot be read, or if `out` fails.
pub fn export(
    records: &(impl Records + ?Sized),
    now: UnixTime,
    out: &mut dyn Write,
) -> Result<Counts, StoreError> {
    let failed = |error| engine::io("the export", "cannot be written", &error);
    let meta = records.meta()?;
    let meta = meta.ok_or_else(|| StoreError::new("nothing was written to the store so far"))?;
    let mut lines = LineWriter::new(BufWriter::with_capacity(1 << 16, out));
    lines.header(&Header { meta, written_at: now }).map_err(failed)?;
    records.records(&mut |record| lines.record(&record).map_err(failed))?;
    lines.end().map(|(_, counts)| counts).map_err(failed)
}

/// Makes a store at `path` from an export. Nothing must be there yet.
///
/// Other locks may have been granted and other peers may have come since the export, which nobody remembers. So
/// fencing tokens of the new store begin above those that a server could have minted until `now`, and it counts as
/// made `now`: of a peer that it does not know, a server says that it may have been forgotten.
///
/// # Errors
///
/// [`StoreError`] if there is a file at `path`, if the export is damaged or incomplete, if no server can be in the
/// state that it describes, or if the system refuses.
/// Then there is no file.
pub fn import(
    export: &mut dyn BufRead,
    path: impl AsRef<Path>,
    now: UnixTime,
) -> Result<Counts, StoreError> {
    let path = path.as_ref();
    let name = engine::name(path);
    if path.exists() {
        return Err(StoreError::new(format!(
            "{name} exists already: move it away, or give another path"
        )));
    }
    make(&name, path, |store| {
        let failed = |error| explain("the export", "no store was made", error);
        let mut lines = LineReader::new(export);
        let Header { meta, .. } = lines.header().map_err(failed)?;
        let floor = throttle_runtime::token_floor_at(now).max(meta.token_floor);
        let meta = Meta { token_floor: floor, made_at: now, ..meta };
        let mut batch = Batch { meta: Some(meta), ..Batch::default() };
        let counts = loop {
            match lines.next().map_err(failed)? {
                Ok(record) => add(&mut batch, record, floor),
                Err(end) => break end.counts,
            }
            if batch.len() >= MAX_BATCH {
                store.write(&batch)?;
                batch = Batch::default();
            }
        };
        store.write(&batch)?;
        let made = store.reader().snapshot()?;
        if made.counts()? != counts {
            return Err(StoreError::new(
                "the export is damaged: it has a record twice: no store was made",
            ));
        }
        verify_records("the export", &made)
            .map_err(|error| StoreError::new(format!("{error}: no store was made")))?;
        Ok(counts)
    })
}

fn add(batch: &mut Batch, record: Record, floor: FencingToken) {
    match record {
        Record::Semaphore(record) => {
            let last_token = record.last_token.max(floor);
            let record = SemaphoreRecord { last_token, ..record };
            batch.semaphores.push((Arc::clone(&record.name), Some(record)));
        }
        Record::Peer(record) => batch.peers.push((record.id, PeerChange::Living(record))),
        Record::Absent(record) => batch.peers.push((record.peer, PeerChange::Absent(record))),
    }
}
