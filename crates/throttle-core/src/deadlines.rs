//! Which peer to look at next, and when: an indexed heap.
//!
//! The heap has four children per node, which halves the depth of a binary one (D. B. Johnson,
//! "Priority queues with update and finding minimum spanning trees", 1975). A table maps each slot to
//! its index in the heap, so that any entry can be moved or removed. Entries of one instant are in
//! arbitrary order, because the caller takes all of them.
//!
//! Invariant: `position[slot]` is the index of the entry of `slot`, for each slot in the heap.
//! The owner decides what an entry means, and whether it may be earlier than the real deadline.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{Time, peers::Slot};

/// The earliest of many instants, one for each peer.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(Time, Slot)>,
    position: Vec<u32>,
    /// How often an entry was written to an index.
    #[cfg(test)]
    pub(crate) moves: usize,
}

impl Deadlines {
    /// The earliest instant, with one of its slots. O(1).
    pub(crate) fn first(&self) -> Option<(Time, Slot)> {
        self.heap.first().copied()
    }

    /// The entry of `slot`, if it has one. O(1).
    pub(crate) fn at(&self, slot: Slot) -> Option<Time> {
        // After a removal the old position may hold another slot, or be past the end.
        let entry = self.heap.get(*self.position.get(slot.index())? as usize);
        entry.filter(|&&(_, found)| found == slot).map(|&(time, _)| time)
    }

    /// Adds an entry for `slot`, which must have none. O(log n).
    pub(crate) fn insert(&mut self, slot: Slot, time: Time) {
        if self.position.len() <= slot.index() {
            self.position.resize(slot.index() + 1, u32::MAX);
        }
        self.heap.push((time, slot));
        self.rise(self.heap.len() - 1);
    }

    /// Moves `slot`, which must have an entry, to `time`. O(log n).
    pub(crate) fn set(&mut self, slot: Slot, time: Time) {
        let index = self.index(slot);
        self.heap[index].0 = time;
        self.restore_order(index);
    }

    /// Removes the entry of `slot`, which must have one. O(log n).
    pub(crate) fn remove(&mut self, slot: Slot) {
        let index = self.index(slot);
        self.heap.swap_remove(index);
        if index < self.heap.len() {
            self.restore_order(index);
        }
        let (length, capacity) = (self.heap.len(), self.heap.capacity());
        if length < capacity / 4 && capacity > SPARE_ENTRIES {
            self.heap.shrink_to(capacity / 2);
        }
        if length == 0 && self.position.len() > SPARE_ENTRIES {
            self.position = Vec::new();
        }
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.heap.capacity() + self.position.capacity()
    }

    fn index(&self, slot: Slot) -> usize {
        let index = self.position[slot.index()] as usize;
        debug_assert_eq!(self.heap[index].1, slot, "position and heap agree");
        index
    }

    fn restore_order(&mut self, index: usize) {
        if index > 0 && self.heap[index].0 < self.heap[parent(index)].0 {
            self.rise(index);
        } else {
            self.sink(index);
        }
    }

    /// Moves the entry at `index` up until its parent is at most as late.
    fn rise(&mut self, mut index: usize) {
        let entry = self.heap[index];
        while index > 0 && entry.0 < self.heap[parent(index)].0 {
            self.put(index, self.heap[parent(index)]);
            index = parent(index);
        }
        self.put(index, entry);
    }

    /// Moves the entry at `index` down until no child is earlier.
    fn sink(&mut self, mut index: usize) {
        let entry = self.heap[index];
        loop {
            let Range { start, end } = children(index);
            let children = &self.heap[start.min(self.heap.len())..end.min(self.heap.len())];
            match (start..end).zip(children).min_by_key(|(_, child)| child.0) {
                Some((child, &earliest)) if earliest.0 < entry.0 => {
                    self.put(index, earliest);
                    index = child;
                }
                _ => break,
            }
        }
        self.put(index, entry);
    }

    fn put(&mut self, index: usize, entry: (Time, Slot)) {
        #[cfg(test)]
        {
            self.moves += 1;
        }
        self.heap[index] = entry;
        self.position[entry.1.index()] =
            u32::try_from(index).expect("there are at most as many entries as slots");
    }
}

const ARITY: usize = 4;

/// A heap with at most this capacity, 16 kB, is never shrunk.
const SPARE_ENTRIES: usize = 1_024;

const fn parent(index: usize) -> usize {
    (index - 1) / ARITY
}

/// The indices of the children; the heap may end before or within them.
const fn children(index: usize) -> Range<usize> {
    ARITY * index + 1..ARITY * index + 1 + ARITY
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn the_first_entry_is_the_earliest_after_any_moves_and_removals() {
        arbtest::arbtest(|u| {
            let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::new());
            while !u.is_empty() {
                let slot = Slot::new(u.int_in_range(0..=40)?);
                let time = Time::from_nanos(u.int_in_range(0..=20)?);
                match (model.contains_key(&slot), u.arbitrary()?) {
                    (false, _) => deadlines.insert(slot, time),
                    (true, true) => deadlines.set(slot, time),
                    (true, false) => {
                        deadlines.remove(slot);
                        model.remove(&slot);
                        continue;
                    }
                }
                model.insert(slot, time);
                let first = model.values().min().copied();
                assert_eq!(deadlines.first().map(|(time, _)| time), first);
                assert_eq!(deadlines.len(), model.len());
                assert!(model.iter().all(|(&slot, &time)| deadlines.at(slot) == Some(time)));
            }
            Ok(())
        });
    }
}
