//! A file that loses what its user believes to be synced.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{Mutex, MutexGuard},
};

use redb::StorageBackend;

use super::lying_disk::Operation;

/// A file whose writes stay in memory until one sync in so many. SIGKILL loses them, as a power failure loses what a
/// disk reported as written and was not.
///
/// It has no lock: two processes can open it.
#[derive(Debug)]
pub struct UnsyncedFile {
    state: Mutex<State>,
    /// Every so many syncs reach the file.
    every: u32,
}

#[derive(Debug)]
struct State {
    file: File,
    /// What a reader sees.
    live: Vec<u8>,
    /// What is not in the file so far.
    pending: Vec<Operation>,
    syncs: u32,
}

impl UnsyncedFile {
    /// Opens or makes the file at `path`. Of its syncs, one in `every` is true; with 1 it is an honest file.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(path: impl AsRef<Path>, every: u32) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut live = Vec::new();
        file.read_to_end(&mut live)?;
        Ok(Self { state: Mutex::new(State { file, live, pending: Vec::new(), syncs: 0 }), every })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no operation of the file panics")
    }
}

impl State {
    fn apply(&mut self, operation: Operation) {
        operation.apply(&mut self.live);
        self.pending.push(operation);
    }

    /// Writes everything to the file, in order.
    fn flush(&mut self) -> io::Result<()> {
        for operation in self.pending.drain(..) {
            match operation {
                Operation::Write { offset, bytes } => {
                    self.file.seek(SeekFrom::Start(offset))?;
                    self.file.write_all(&bytes)?;
                }
                Operation::SetLen(len) => self.file.set_len(len)?,
                Operation::Sync | Operation::FailedSync => {}
            }
        }
        Ok(())
    }
}

impl StorageBackend for UnsyncedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        super::lying_disk::read(&self.lock().live, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lock().apply(Operation::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.syncs += 1;
        if state.syncs.is_multiple_of(self.every) { state.flush() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.lock().apply(Operation::Write { offset, bytes: data.to_vec() });
        Ok(())
    }

    /// An orderly end loses nothing.
    fn close(&self) -> io::Result<()> {
        self.lock().flush()
    }
}
