//! The state file: everything that a server knew when it was stopped in order, for its next start.
//!
//! It has the form of an [export](crate::export). It is written beside its place and gets its name when all of it is
//! on the disk, so there is either the whole file or none; a checksum over all of it tells if it was damaged later.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{BufReader, BufWriter, ErrorKind, Seek},
    path::{Path, PathBuf},
};

use throttle_runtime::{Batch, Meta, PeerChange, Record, Store, StoreError, UnixTime};

use crate::{
    engine,
    files::{beside, private, sync_directory},
    lines::{End, Header, LineError, LineReader, LineWriter},
    snapshot::{Counts, Receive, Records},
};

/// A state file that is complete, to recover from.
#[derive(Debug)]
pub struct StateFile {
    name: String,
    file: File,
    header: Header,
    end: End,
}

/// The right to use a state file, which one process has at a time. It ends when this is dropped.
///
/// It is a lock on another file beside the state file, because that comes and goes. The other one stays.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

impl StateFile {
    /// Claims the state file at `path`, whether it exists or not.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if another process has it, which may be about to write it, or if the system refuses.
    pub fn claim(path: impl AsRef<Path>) -> Result<Claim, StoreError> {
        let path = path.as_ref();
        let name = name(path);
        let lock = private(&mut OpenOptions::new()).create(true).open(beside(path, ".lock"));
        let lock = lock.map_err(|error| engine::io(&name, "cannot be locked", &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Claim { _lock: lock }),
            Err(TryLockError::Error(error)) => Err(engine::io(&name, "cannot be locked", &error)),
            Err(TryLockError::WouldBlock) => Err(StoreError::new(format!(
                "{name} is in use by another process, which may be about to write it: wait until that has ended, \
                 or give this one a path of its own"
            ))),
        }
    }

    /// Opens the state file at `path`, or returns `None` if there is none. It reads all of it once, to see whether it
    /// is whole.
    ///
    /// A file that was written longer ago than the longest lease of its peers is *stale*: all of them count as lost
    /// by their clients, and another server may have granted their locks since.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be read, is damaged, is stale, or has a format that this version cannot read.
    pub fn open(path: impl AsRef<Path>, now: UnixTime) -> Result<Option<Self>, StoreError> {
        let Some(file) = Self::open_of_any_age(path.as_ref())? else { return Ok(None) };
        let age = now.since(file.header.written_at);
        if age > file.end.longest_lease && file.end.counts.peers > 0 {
            return Err(StoreError::new(format!(
                "{} is stale: it was written {} ago, and the longest lease in it is {}, so its peers have given up \
                 their locks: delete it to start without them",
                file.name,
                whole_seconds(age),
                humantime::format_duration(file.end.longest_lease)
            )));
        }
        Ok(Some(file))
    }

    /// The same for tools, however old the file is.
    pub(crate) fn open_of_any_age(path: &Path) -> Result<Option<Self>, StoreError> {
        let name = name(path);
        // Opening a pipe would wait for somebody who writes to it.
        if let Ok(metadata) = fs::metadata(path) {
            engine::require_regular(&name, &metadata)?;
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(engine::io(&name, "cannot be opened", &error)),
        };
        let mut lines = LineReader::new(BufReader::new(&file));
        let mut check = || Ok((lines.header()?, lines.check()?));
        let (header, end) = check().map_err(|error| failed(&name, error))?;
        Ok(Some(Self { name, file, header, end }))
    }

    /// When it was written.
    pub const fn written_at(&self) -> UnixTime {
        self.header.written_at
    }

    /// Deletes the state file at `path`, so that no later start recovers from it. It is gone for good when this
    /// returns. That it does not exist is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be deleted.
    pub fn remove(path: impl AsRef<Path>) -> Result<(), StoreError> {
        let path = path.as_ref();
        let removed = match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed.and_then(|()| sync_directory(path)),
        };
        removed.map_err(|error| engine::io(&name(path), "cannot be deleted", &error))
    }

    /// Begins to write a state file, which gets its name by [`StateFileWriter::finish`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if no file can be made beside its place.
    pub fn create(path: impl AsRef<Path>, now: UnixTime) -> Result<StateFileWriter, StoreError> {
        let path = path.as_ref().to_owned();
        let name = name(&path);
        let file =
            private(&mut OpenOptions::new()).create(true).truncate(true).open(unfinished(&path));
        let file = file.map_err(|error| engine::io(&name, "cannot be made", &error))?;
        let lines = LineWriter::new(BufWriter::with_capacity(1 << 16, file));
        Ok(StateFileWriter { name, path, now, lines, has_header: false })
    }
}

impl Records for StateFile {
    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        Ok(Some(self.header.meta))
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        Ok(self.end.counts)
    }

    fn records(&self, receive: &mut Receive<'_>) -> Result<Option<Meta>, StoreError> {
        let failed = |error| failed(&self.name, error);
        let mut file = &self.file;
        file.rewind().map_err(|error| failed(error.into()))?;
        let mut lines = LineReader::new(BufReader::with_capacity(1 << 16, file));
        let header = lines.header().map_err(failed)?;
        while let Ok(record) = lines.next().map_err(failed)? {
            receive(record)?;
        }
        Ok(Some(header.meta))
    }
}

impl Store for StateFile {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        self.records(receive)
    }

    /// It is complete: nothing can be added.
    fn write(&mut self, _: &Batch) -> Result<(), StoreError> {
        Err(StoreError::new(format!("{} is only read", self.name)))
    }

    fn max_batch(&self) -> usize {
        usize::MAX
    }
}

/// A state file that is being written.
///
/// The first batch must have the meta record. Each record is written once: a batch can remove none.
#[derive(Debug)]
pub struct StateFileWriter {
    name: String,
    path: PathBuf,
    now: UnixTime,
    lines: LineWriter<BufWriter<File>>,
    has_header: bool,
}

impl StateFileWriter {
    /// Makes the file durable, and gives it its name. One that was there before is replaced.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if nothing was written, or if the system refuses.
    pub fn finish(self) -> Result<Counts, StoreError> {
        let Self { name, path, lines, has_header, now: _ } = self;
        if !has_header {
            return Err(StoreError::new(format!("{name} was given no records")));
        }
        let finish = || {
            let (file, counts) = lines.end()?;
            file.get_ref().sync_all()?;
            fs::rename(unfinished(&path), &path)?;
            sync_directory(&path)?;
            Ok(counts)
        };
        finish().map_err(|error| engine::io(&name, "cannot be written", &error))
    }

    fn append(&mut self, batch: &Batch) -> std::io::Result<()> {
        if let Some(meta) = batch.meta
            && !self.has_header
        {
            self.has_header = true;
            self.lines.header(&Header { meta, written_at: self.now })?;
        }
        let unfit = |what: &str| std::io::Error::other(format!("a state file cannot {what}"));
        if !self.has_header {
            return Err(unfit("begin without the meta record"));
        }
        for (_, record) in &batch.semaphores {
            self.lines.semaphore(record.as_ref().ok_or_else(|| unfit("forget a semaphore"))?)?;
        }
        for (_, change) in &batch.peers {
            match change {
                PeerChange::Living(record) => self.lines.peer(record)?,
                PeerChange::Absent(record) => self.lines.absent(record)?,
                PeerChange::Gone => return Err(unfit("forget a peer")),
            }
        }
        Ok(())
    }
}

impl Store for StateFileWriter {
    /// It is new.
    fn load(
        &mut self,
        _: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        Ok(None)
    }

    /// Adds the records. They are durable when the file is [finished](StateFileWriter::finish).
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.append(batch).map_err(|error| engine::io(&self.name, "cannot be written", &error))
    }

    fn max_batch(&self) -> usize {
        1 << 16
    }
}

fn name(path: &Path) -> String {
    format!("the state file {}", path.display())
}

fn unfinished(path: &Path) -> PathBuf {
    beside(path, ".tmp")
}

/// For people.
fn whole_seconds(time: std::time::Duration) -> humantime::FormattedDuration {
    humantime::format_duration(std::time::Duration::from_secs(time.as_secs()))
}

fn failed(name: &str, error: LineError) -> StoreError {
    explain(name, "none of it was used; move it away to start without it", error)
}

/// What an error in the lines of a file means to an operator, and what to do.
pub(crate) fn explain(name: &str, advice: &str, error: LineError) -> StoreError {
    match error {
        LineError::Io(error) => engine::io(name, "cannot be read", &error),
        LineError::Damage(damage) => {
            StoreError::new(format!("{name} is damaged: {damage}: {advice}"))
        }
        LineError::Format(format) => StoreError::new(format!(
            "{name} has format {format}, which this version of Throttle does not read: use the version that wrote it"
        )),
    }
}
