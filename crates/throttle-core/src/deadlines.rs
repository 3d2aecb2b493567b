//! When to look at which peer next: an indexed heap.
//!
//! A heap with four children a node (d-ary heaps: D. B. Johnson, "Priority queues with update and
//! finding minimum spanning trees", 1975), which halves the depth of a binary one, and a table that
//! tells where in the heap each peer stands, so that any entry can be moved or removed. Entries of the
//! same instant are in no order: whoever takes them up takes up all of them.
//!
//! Invariant: `position[slot]` is the index of the entry of `slot`, for each slot in the heap.
//! What an entry means, and whether it may lie before the true deadline, is up to the owner.

use alloc::vec::Vec;
use core::{mem, ops::Range};

use crate::{Time, peers::Slot};

/// The earliest of many instants, one for each peer.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(Time, Slot)>,
    position: Vec<u32>,
    /// Where [`Deadlines::settle`] keeps its list; empty, and kept for its memory.
    due: Vec<usize>,
}

impl Deadlines {
    /// The earliest instant. O(1).
    pub(crate) fn first(&self) -> Option<Time> {
        self.heap.first().map(|&(time, _)| time)
    }

    /// The entry of `slot`, if it has one. O(1).
    pub(crate) fn at(&self, slot: Slot) -> Option<Time> {
        // Where a slot stood that has left, another one stands by now, or none.
        let entry = self.heap.get(*self.position.get(slot.index())? as usize);
        entry.filter(|&&(_, stands)| stands == slot).map(|&(time, _)| time)
    }

    /// Enters `slot`, which must not have an entry. O(log n).
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

    /// Forgets `slot`, which must have an entry. O(log n).
    pub(crate) fn remove(&mut self, slot: Slot) {
        let index = self.index(slot);
        self.heap.swap_remove(index);
        if index < self.heap.len() {
            self.restore_order(index);
        }
    }

    /// Hands the slot of each entry at or before `until` to `fate`, in no order of meaning, and moves
    /// the entry to the instant after `until` that `fate` names, or forgets it.
    ///
    /// Costs O(k) if all entries are due, and O(log n) for each of k if few are. Nobody who is due
    /// stands below somebody who is not, so those who are due are found without looking at others.
    /// Taken from the last to the first, each one's subtrees are in order when its turn comes, as in
    /// the construction of a heap (R. W. Floyd, "Treesort 3", 1964).
    pub(crate) fn settle(&mut self, until: Time, mut fate: impl FnMut(Slot) -> Option<Time>) {
        let mut due = mem::take(&mut self.due);
        let is_due = |index| self.heap.get(index).is_some_and(|&(time, _)| time <= until);
        if is_due(0) {
            due.push(0);
        }
        let mut seen = 0;
        while let Some(&index) = due.get(seen) {
            for child in children(index) {
                if is_due(child) {
                    due.push(child);
                }
            }
            seen += 1;
        }
        while let Some(index) = due.pop() {
            match fate(self.heap[index].1) {
                Some(time) => {
                    debug_assert!(until < time, "who stays is not due any more");
                    self.heap[index].0 = time;
                }
                None => drop(self.heap.swap_remove(index)),
            }
            if index < self.heap.len() {
                self.sink(index);
            }
        }
        self.due = due;
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
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

    /// Moves the entry at `index` up until its parent is not later.
    fn rise(&mut self, mut index: usize) {
        let entry = self.heap[index];
        while index > 0 && entry.0 < self.heap[parent(index)].0 {
            self.put(index, self.heap[parent(index)]);
            index = parent(index);
        }
        self.put(index, entry);
    }

    /// Moves the entry at `index` down until none of its children is earlier.
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
        self.heap[index] = entry;
        self.position[entry.1.index()] =
            u32::try_from(index).expect("there are at most as many entries as slots");
    }
}

const ARITY: usize = 4;

const fn parent(index: usize) -> usize {
    (index - 1) / ARITY
}

/// Where the children of an entry stand, if it has that many.
const fn children(index: usize) -> Range<usize> {
    ARITY * index + 1..ARITY * index + 1 + ARITY
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use core::time::Duration;

    use super::*;

    #[test]
    fn whoever_is_due_and_nobody_else_meets_a_fate() {
        arbtest::arbtest(|u| {
            let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::new());
            for index in 0..u.int_in_range(0..=100)? {
                let time = Time::from_nanos(u.int_in_range(0..=20)?);
                deadlines.insert(Slot::new(index), time);
                model.insert(Slot::new(index), time);
            }
            let mut until = Time::ZERO;
            while !u.is_empty() {
                until = until + Duration::from_nanos(u.int_in_range(0..=5)?);
                let mut met = Vec::new();
                let mut fates = BTreeMap::new();
                for (&slot, _) in model.iter().filter(|&(_, &time)| time <= until) {
                    let later = until + Duration::from_nanos(u.int_in_range(1..=20)?);
                    fates.insert(slot, u.arbitrary::<bool>()?.then_some(later));
                }
                deadlines.settle(until, |slot| {
                    met.push(slot);
                    fates[&slot]
                });
                met.sort_unstable();
                assert!(met.iter().eq(fates.keys()), "{met:?} at {until:?}, not {fates:?}");
                for (slot, fate) in fates {
                    model.remove(&slot);
                    model.extend(fate.map(|time| (slot, time)));
                }
                let first = model.values().min().copied();
                assert_eq!(deadlines.first(), first);
                assert_eq!(deadlines.len(), model.len());
                assert!(model.iter().all(|(&slot, &time)| deadlines.at(slot) == Some(time)));
                let heap = &deadlines.heap;
                assert!((1..heap.len()).all(|index| heap[parent(index)].0 <= heap[index].0));
            }
            Ok(())
        });
    }

    #[test]
    fn the_first_entry_is_the_earliest_whatever_was_moved_or_removed() {
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
                assert_eq!(deadlines.first(), first);
                assert_eq!(deadlines.len(), model.len());
                assert!(model.iter().all(|(&slot, &time)| deadlines.at(slot) == Some(time)));
            }
            Ok(())
        });
    }
}
