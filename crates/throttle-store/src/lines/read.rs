//! Reading lines, and turning them into records.

use std::{io::BufRead, sync::Arc};

use serde::Deserialize;
use throttle_core::{HeldRecord, Level, PendingRecord, Ticket};
use throttle_runtime::{AbsentRecord, Meta, PeerRecord, Record, SemaphoreRecord, UnixTime};

use super::{AbsentLine, End, EndLine, FORMAT, Header, HeaderLine, Line, PeerLine, SemaphoreLine};
use crate::{
    format::{Damage, Names, count, peer, sequence, token},
    snapshot::Counts,
};

/// Why lines could not be read.
#[derive(Debug)]
pub(crate) enum LineError {
    Io(std::io::Error),
    /// Something is wrong with the text.
    Damage(Damage),
    /// It is of another format.
    Format(u64),
}

impl From<std::io::Error> for LineError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

const CUT: &str = "the text ends here, before the line that counts the others";

fn damage(number: u64, reason: impl std::fmt::Display) -> LineError {
    LineError::Damage(Damage(format!("line {number}: {reason}")))
}

/// Reads lines, and checks that they are complete and in order.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    crc32: crc32fast::Hasher,
    counts: Counts,
    names: Names,
}

impl<R: BufRead> LineReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
            crc32: crc32fast::Hasher::new(),
            counts: Counts::default(),
            names: Names::default(),
        }
    }

    /// Reads the first line.
    pub(crate) fn header(&mut self) -> Result<Header, LineError> {
        self.next_line()?;
        self.crc32.update(&self.line);
        // What else a later format has in its header is not known.
        #[derive(Deserialize)]
        struct Format {
            header: FormatOnly,
        }
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u64,
        }
        if let Ok(Format { header }) = serde_json::from_slice(&self.line)
            && header.format != FORMAT
        {
            return Err(LineError::Format(header.format));
        }
        let Line::Header(HeaderLine { format: _, id, made_at_ms, token_floor, written_at_ms }) =
            self.parse()?
        else {
            return Err(damage(self.number, "it is not the header"));
        };
        let token_floor = token(token_floor).map_err(|reason| damage(self.number, reason))?;
        Ok(Header {
            meta: Meta { id, made_at: UnixTime(made_at_ms), token_floor },
            written_at: UnixTime(written_at_ms),
        })
    }

    /// Reads the next line: a record, or the last line.
    pub(crate) fn next(&mut self) -> Result<Result<Record, End>, LineError> {
        self.next_line()?;
        let line: Line<'_> = serde_json::from_slice(&self.line)
            .map_err(|error| damage(self.number, without_position(&error)))?;
        let record = match line {
            Line::Header(_) => return Err(damage(self.number, "it is a second header")),
            Line::Semaphore(line) => {
                self.counts.semaphores += 1;
                semaphore_record(line, &mut self.names).map(Record::Semaphore)
            }
            Line::Peer(line) => {
                self.counts.peers += 1;
                peer_record(line, &mut self.names).map(Record::Peer)
            }
            Line::Absent(line) => {
                self.counts.absent += 1;
                absent_record(&line).map(Record::Absent)
            }
            Line::End(end) => return self.end(end).map(Err),
            Line::Crc32(_) => return Err(damage(self.number, CUT)),
        };
        let record = record.map_err(|reason| damage(self.number, reason))?;
        self.crc32.update(&self.line);
        Ok(Ok(record))
    }

    /// Reads all lines after the header without looking at the records: whether the text is complete and unchanged.
    /// It needs to have a checksum.
    pub(crate) fn check(&mut self) -> Result<End, LineError> {
        let mut before = Vec::new();
        loop {
            self.next_line()?;
            if self.input.fill_buf()?.is_empty() {
                break;
            }
            self.crc32.update(&self.line);
            std::mem::swap(&mut before, &mut self.line);
        }
        self.checksum()?;
        match serde_json::from_slice(&before) {
            Ok(Line::End(end)) => Ok(end.into()),
            _ => Err(damage(self.number, CUT)),
        }
    }

    /// Reads what comes after the line with the counts.
    fn end(&mut self, end: EndLine) -> Result<End, LineError> {
        let end = End::from(end);
        if end.counts != self.counts {
            let reason =
                format!("it says that there are {}, but there are {}", end.counts, self.counts);
            return Err(damage(self.number, reason));
        }
        if !self.input.fill_buf()?.is_empty() {
            self.crc32.update(&self.line);
            self.next_line()?;
            self.checksum()?;
        }
        if !self.input.fill_buf()?.is_empty() {
            return Err(damage(self.number + 1, "it comes after the last one"));
        }
        Ok(end)
    }

    /// Compares the checksum in the present line.
    fn checksum(&self) -> Result<(), LineError> {
        let Line::Crc32(crc32) = self.parse()? else {
            return Err(damage(self.number, "it is not the checksum"));
        };
        if crc32 == self.crc32.clone().finalize() {
            Ok(())
        } else {
            let reason = "the checksum is wrong: a line before was changed (an export that was edited on purpose \
                          must not have this line)";
            Err(damage(self.number, reason))
        }
    }

    fn next_line(&mut self) -> Result<(), LineError> {
        self.line.clear();
        self.number += 1;
        self.input.read_until(b'\n', &mut self.line)?;
        if self.line.last() == Some(&b'\n') { Ok(()) } else { Err(damage(self.number, CUT)) }
    }

    fn parse(&self) -> Result<Line<'_>, LineError> {
        serde_json::from_slice(&self.line)
            .map_err(|error| damage(self.number, without_position(&error)))
    }
}

/// The message without the line that serde_json counts, which is always the first one.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    match message.strip_suffix(&position) {
        Some(reason) => format!("{reason}, at byte {}", error.column()),
        None => message,
    }
}

fn semaphore_record(line: SemaphoreLine<'_>, names: &mut Names) -> Result<SemaphoreRecord, Damage> {
    let SemaphoreLine { name, last_token, max, level } = line;
    Ok(SemaphoreRecord {
        name: names.shared(&name),
        last_token: token(last_token)?,
        max: count(max)?,
        level: Level(level),
    })
}

fn peer_record(line: PeerLine<'_>, names: &mut Names) -> Result<PeerRecord, Damage> {
    let PeerLine { id, expires_in, labels, sequence: number, held, pending } = line;
    let held = held.into_iter().map(|lock| {
        Ok(HeldRecord {
            semaphore: names.shared(&lock.semaphore),
            count: count(lock.count)?,
            token: token(lock.token)?,
            since: UnixTime(lock.since_ms),
        })
    });
    let held = held.collect::<Result<_, Damage>>()?;
    let pending = pending.map(|lock| {
        Ok(PendingRecord::<Arc<str>, _> {
            semaphore: names.shared(&lock.semaphore),
            count: count(lock.count)?,
            ticket: Ticket::new(lock.ticket),
            since: UnixTime(lock.since_ms),
        })
    });
    let labels = labels.into_iter();
    Ok(PeerRecord {
        id: peer(id)?,
        expires_in,
        labels: labels.map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
        sequence: sequence(number)?,
        held,
        pending: pending.transpose()?,
    })
}

fn absent_record(line: &AbsentLine) -> Result<AbsentRecord, Damage> {
    let since = UnixTime(line.since_ms);
    Ok(AbsentRecord { peer: peer(line.peer)?, sequence: sequence(line.sequence)?, since })
}
