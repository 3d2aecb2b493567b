//! A disk in memory that records what is done to it, and fails on request.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use redb::StorageBackend;

/// A disk in memory. Clones are the same disk.
///
/// It records each operation that changes it, so that a [`Replay`](super::Replay) can tell what a crash at any point
/// would have left.
#[derive(Clone, Debug, Default)]
pub struct LyingDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    /// What a reader sees.
    live: Vec<u8>,
    operations: Vec<Operation>,
    /// The number of the operation that fails, and how.
    fault: Option<(usize, Fault)>,
}

/// Something that was done to a disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Bytes were written.
    Write {
        /// Where.
        offset: u64,
        /// Which.
        bytes: Vec<u8>,
    },
    /// The length was set. New bytes are zero.
    SetLen(u64),
    /// All before became durable.
    Sync,
    /// A sync was reported as failed. What was not durable may be durable or not, also after the next sync.
    FailedSync,
}

/// How an operation fails. A fault that does not fit the operation makes it fail without effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Nothing happens, and an error is returned.
    Refused,
    /// The disk is full: the first half of a write takes place.
    Full,
    /// A sync fails.
    Unsynced,
}

impl LyingDisk {
    /// A disk with these durable bytes.
    pub fn new(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Disk { live: image, ..Disk::default() })))
    }

    /// Makes the operation with this number fail. The first one has the number zero.
    pub fn fail_at(&self, operation: usize, fault: Fault) {
        self.lock().fault = Some((operation, fault));
    }

    /// How many operations there were.
    pub fn len(&self) -> usize {
        self.lock().operations.len()
    }

    /// Whether nothing was done to it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().operations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no operation of the disk panics")
    }
}

impl Disk {
    /// The fault of the next operation, if it has one.
    fn fault(&mut self) -> Option<Fault> {
        let now = self.operations.len();
        self.fault.take_if(|(operation, _)| *operation <= now).map(|(_, fault)| fault)
    }

    fn apply(&mut self, operation: Operation) {
        operation.apply(&mut self.live);
        self.operations.push(operation);
    }
}

impl Operation {
    /// Does it to `bytes`.
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: new } => {
                let start = index(*offset);
                let end = start + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(new);
            }
            Self::SetLen(len) => bytes.resize(index(*len), 0),
            Self::Sync | Self::FailedSync => {}
        }
    }
}

pub(super) fn read(live: &[u8], offset: u64, out: &mut [u8]) -> io::Result<()> {
    let range = index(offset)..index(offset) + out.len();
    out.copy_from_slice(live.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("it fits into memory")
}

impl StorageBackend for LyingDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.lock().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        read(&self.lock().live, offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut disk = self.lock();
        match disk.fault() {
            None => disk.apply(Operation::SetLen(len)),
            Some(fault) => return Err(fault.into()),
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut disk = self.lock();
        if let Some(fault) = disk.fault() {
            disk.apply(Operation::FailedSync);
            return Err(fault.into());
        }
        disk.apply(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut disk = self.lock();
        let fault = disk.fault();
        let written = match fault {
            None => data.len(),
            Some(Fault::Full) => data.len() / 2,
            Some(Fault::Refused | Fault::Unsynced) => 0,
        };
        if written > 0 {
            disk.apply(Operation::Write { offset, bytes: data[..written].to_vec() });
        }
        fault.map_or(Ok(()), |fault| Err(fault.into()))
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused | Fault::Unsynced => Self::other("the disk was told to fail"),
            Fault::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}
