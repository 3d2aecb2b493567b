//! What a crash leaves of the operations on a disk.

use std::collections::VecDeque;

use super::lying_disk::Operation;

/// Follows the operations of a disk, and tells at each point what a crash there may leave.
///
/// A crash leaves all that was synced. Of the rest it leaves any part, in units of a sector: a disk may write in
/// another order than it was told, and may tear a write.
#[derive(Debug)]
pub struct Replay {
    /// Bytes that are durable for certain.
    durable: Vec<u8>,
    /// Later operations. The flag says whether one is durable for certain; the first one is not.
    later: VecDeque<(Operation, bool)>,
    /// The operations that the next sync makes durable are those from here on.
    unsynced_from: usize,
}

/// Disks write this many bytes at once.
const SECTOR: usize = 512;

impl Replay {
    /// Starts with a disk whose bytes are all durable.
    pub const fn new(image: Vec<u8>) -> Self {
        Self { durable: image, later: VecDeque::new(), unsynced_from: 0 }
    }

    /// Goes on by an operation.
    pub fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Sync => {
                self.later.range_mut(self.unsynced_from..).for_each(|(_, durable)| *durable = true);
                while let Some((operation, true)) = self.later.front() {
                    operation.apply(&mut self.durable);
                    self.later.pop_front();
                }
                self.unsynced_from = self.later.len();
            }
            Operation::FailedSync => self.unsynced_from = self.later.len(),
            operation => self.later.push_back((operation, false)),
        }
    }

    /// How many operations a crash may undo.
    pub fn uncertain(&self) -> usize {
        self.later.iter().filter(|(_, durable)| !durable).count()
    }

    /// What a crash leaves if, of the uncertain operations, those happened for which `happened` is true. It is
    /// called with their positions.
    pub fn image(&self, mut happened: impl FnMut(usize) -> bool) -> Vec<u8> {
        let mut image = self.durable.clone();
        let mut position = 0;
        for (operation, durable) in &self.later {
            if *durable {
                operation.apply(&mut image);
            } else {
                if happened(position) {
                    operation.apply(&mut image);
                }
                position += 1;
            }
        }
        image
    }

    /// What a crash leaves if, of the uncertain operations, those sectors were written for which `happened` is true.
    pub fn torn_image(&self, mut happened: impl FnMut() -> bool) -> Vec<u8> {
        let mut image = self.durable.clone();
        for (operation, durable) in &self.later {
            match operation {
                operation if *durable => operation.apply(&mut image),
                Operation::Write { offset, bytes } => {
                    for sector in sectors(*offset, bytes).filter(|_| happened()) {
                        sector.apply(&mut image);
                    }
                }
                operation => {
                    if happened() {
                        operation.apply(&mut image);
                    }
                }
            }
        }
        image
    }
}

/// A write as writes of one sector each.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = Operation> {
    let sector = SECTOR as u64;
    let lead = usize::try_from((sector - offset % sector) % sector).unwrap_or(0).min(bytes.len());
    let (lead, rest) = bytes.split_at(lead);
    let after_lead = offset + lead.len() as u64;
    let rest = rest.chunks(SECTOR).zip((after_lead..).step_by(SECTOR));
    let lead = (!lead.is_empty()).then_some((lead, offset));
    lead.into_iter()
        .chain(rest)
        .map(|(bytes, offset)| Operation::Write { offset, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, byte: u8) -> Operation {
        Operation::Write { offset, bytes: vec![byte; 1] }
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_any_part_of_the_rest() {
        let mut replay = Replay::new(vec![0; 3]);
        replay.step(write(0, 1));
        replay.step(Operation::Sync);
        replay.step(write(1, 2));
        replay.step(write(2, 3));
        assert_eq!(replay.image(|_| false), [1, 0, 0]);
        assert_eq!(replay.image(|position| position == 1), [1, 0, 3]);
        replay.step(Operation::Sync);
        assert_eq!(replay.image(|_| false), [1, 2, 3]);
    }

    #[test]
    fn what_a_failed_sync_left_uncertain_stays_so_after_the_next_sync() {
        let mut replay = Replay::new(vec![0; 2]);
        replay.step(write(0, 1));
        replay.step(Operation::FailedSync);
        replay.step(write(1, 2));
        replay.step(Operation::Sync);
        assert_eq!(replay.uncertain(), 1);
        assert_eq!(replay.image(|_| false), [0, 2]);
        assert_eq!(replay.image(|_| true), [1, 2]);
    }

    #[test]
    fn a_crash_tears_a_write_between_sectors() {
        let mut replay = Replay::new(vec![0; 2048]);
        replay.step(Operation::Write { offset: 500, bytes: vec![9; 1000] });
        let mut happened = [false, true, false].into_iter();
        let image = replay.torn_image(|| happened.next().unwrap());
        assert_eq!(happened.next(), None);
        let written = image.iter().enumerate().filter(|(_, byte)| **byte == 9);
        assert!(written.map(|(index, _)| index).eq(512..1024));
    }
}
