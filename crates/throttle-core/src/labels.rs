//! Labels: what a peer says about itself, for people who want to know who holds a lock.

use alloc::{boxed::Box, string::String};
use core::fmt;

/// Names and values that a peer carries, such as `host = worker-7`. Ordered by name, each name once.
///
/// The core stores them with the peer and never interprets them. The embedder bounds their number and
/// size.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Labels {
    entries: Box<[(Box<str>, Box<str>)]>,
    bytes: u64,
}

impl Labels {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// About how much memory they take: the text, and 64 bytes for each label. O(1).
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Names with their values, in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<(String, String)> for Labels {
    /// If a name occurs more than once, the last value counts.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        let unique = labels
            .into_iter()
            .map(|(name, value)| (name.into_boxed_str(), value.into_boxed_str()))
            .collect::<alloc::collections::BTreeMap<_, _>>();
        let entries: Box<[_]> = unique.into_iter().collect();
        let bytes =
            entries.iter().map(|(name, value)| (name.len() + value.len()) as u64 + OVERHEAD);
        let bytes = bytes.sum();
        Self { entries, bytes }
    }
}

/// Bytes that a label takes besides its text: two fat pointers, and the allocator's overhead for two
/// small allocations.
const OVERHEAD: u64 = 64;
