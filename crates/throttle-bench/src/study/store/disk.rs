//! What the disk can do: batches that are written one after the other, each of them synced.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    time::Duration,
};

use crate::{clock, load::Latencies, server::Launcher};

/// A file whose room was allocated before, as that of a log usually is. A sync then has no sizes to write.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
}

impl Disk {
    /// Allocates the room.
    pub(super) fn new(launcher: &Launcher) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&launcher.data)?;
        let mut file = tempfile::tempfile_in(&launcher.data)?;
        file.write_all(&vec![0; ROOM])?;
        file.sync_all()?;
        Ok(Self { file })
    }

    /// Makes batches of this number of records durable for `time`. Returns how long each took.
    pub(super) fn measure(&mut self, records: usize, time: Duration) -> anyhow::Result<Latencies> {
        let batch = vec![b'x'; (records.max(1) * RECORD).min(ROOM)];
        let mut latencies = Latencies::new();
        let end = clock::now() + time;
        let mut offset = 0;
        loop {
            let start = clock::now();
            if offset + batch.len() > ROOM {
                offset = 0;
            }
            self.file.seek(SeekFrom::Start(offset as u64))?;
            self.file.write_all(&batch)?;
            self.file.sync_data()?;
            offset += batch.len();
            let now = clock::now();
            latencies.record(now.duration_since(start));
            if now >= end {
                return Ok(latencies);
            }
        }
    }
}

/// The bytes of a record of a peer with one lock, about.
const RECORD: usize = 100;
const ROOM: usize = 16 << 20;
