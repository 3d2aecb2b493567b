//! Writing lines.

use std::{io::Write, time::Duration};

use throttle_runtime::{AbsentRecord, Meta, PeerRecord, Record, SemaphoreRecord};

use super::{
    AbsentLine, EndLine, FORMAT, Header, HeaderLine, HeldLine, Line, PeerLine, PendingLine,
    SemaphoreLine,
};
use crate::snapshot::Counts;

/// Writes lines.
#[derive(Debug)]
pub(crate) struct LineWriter<W> {
    out: W,
    line: Vec<u8>,
    crc32: crc32fast::Hasher,
    counts: Counts,
    longest_lease: Duration,
}

impl<W: Write> LineWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            line: Vec::new(),
            crc32: crc32fast::Hasher::new(),
            counts: Counts::default(),
            longest_lease: Duration::ZERO,
        }
    }

    pub(crate) fn header(&mut self, header: &Header) -> std::io::Result<()> {
        let Header { meta: Meta { id, made_at, token_floor }, written_at } = *header;
        self.line(&Line::Header(HeaderLine {
            format: FORMAT,
            id,
            made_at_ms: made_at.0,
            token_floor: token_floor.get(),
            written_at_ms: written_at.0,
        }))
    }

    pub(crate) fn semaphore(&mut self, record: &SemaphoreRecord) -> std::io::Result<()> {
        let SemaphoreRecord { name, last_token, max, level } = record;
        self.counts.semaphores += 1;
        self.line(&Line::Semaphore(SemaphoreLine {
            name: (&**name).into(),
            last_token: last_token.get(),
            max: max.get(),
            level: level.0,
        }))
    }

    pub(crate) fn peer(&mut self, record: &PeerRecord) -> std::io::Result<()> {
        let PeerRecord { id, expires_in, labels, sequence, held, pending } = record;
        self.counts.peers += 1;
        self.longest_lease = self.longest_lease.max(*expires_in);
        let held = held.iter().map(|lock| HeldLine {
            semaphore: (&*lock.semaphore).into(),
            count: lock.count.get(),
            token: lock.token.get(),
            since_ms: lock.since.0,
        });
        let pending = pending.as_ref().map(|lock| PendingLine {
            semaphore: (&*lock.semaphore).into(),
            count: lock.count.get(),
            ticket: lock.ticket.get(),
            since_ms: lock.since.0,
        });
        self.line(&Line::Peer(PeerLine {
            id: id.get(),
            expires_in: *expires_in,
            labels: labels.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            sequence: sequence.get(),
            held: held.collect(),
            pending,
        }))
    }

    pub(crate) fn absent(&mut self, record: &AbsentRecord) -> std::io::Result<()> {
        let AbsentRecord { peer, sequence, since } = *record;
        self.counts.absent += 1;
        let (peer, sequence) = (peer.get(), sequence.get());
        self.line(&Line::Absent(AbsentLine { peer, sequence, since_ms: since.0 }))
    }

    pub(crate) fn record(&mut self, record: &Record) -> std::io::Result<()> {
        match record {
            Record::Semaphore(record) => self.semaphore(record),
            Record::Peer(record) => self.peer(record),
            Record::Absent(record) => self.absent(record),
        }
    }

    /// Writes the last lines and what is buffered.
    pub(crate) fn end(mut self) -> std::io::Result<(W, Counts)> {
        let Counts { semaphores, peers, absent } = self.counts;
        let longest_lease = self.longest_lease;
        self.line(&Line::End(EndLine { semaphores, peers, absent, longest_lease }))?;
        self.line(&Line::Crc32(self.crc32.clone().finalize()))?;
        self.out.flush()?;
        Ok((self.out, self.counts))
    }

    fn line(&mut self, line: &Line<'_>) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.crc32.update(&self.line);
        self.out.write_all(&self.line)
    }
}
