//! Peers that are not there, and do not come back by a request that was sent before another one of theirs.
//!
//! So many of them are remembered as get new in minutes, for requests are late by no more than that.

use alloc::collections::{BTreeMap, VecDeque};

use crate::{PeerId, Sequence};

/// Peers that are not there, each with the greatest number of its requests since.
#[derive(Debug, Default)]
pub(crate) struct Barred {
    by_id: BTreeMap<PeerId, Sequence>,
    oldest_first: VecDeque<PeerId>,
}

impl Barred {
    /// The number below which no request brings back `peer`, as far as that is remembered. O(log n).
    pub(crate) fn get(&self, peer: PeerId) -> Option<Sequence> {
        self.by_id.get(&peer).copied()
    }

    /// Remembers that a request of `peer` with this number came when it was not there, or removed it.
    /// Who is here for the longest time is forgotten for a newcomer. O(log n).
    pub(crate) fn insert(&mut self, peer: PeerId, sequence: Sequence) {
        if let Some(known) = self.by_id.get_mut(&peer) {
            *known = sequence.max(*known);
            return;
        }
        if self.oldest_first.len() >= AT_MOST
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(peer, sequence);
        self.oldest_first.push_back(peer);
    }
}

/// Two megabytes.
const AT_MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_with_the_greatest_of_their_numbers() {
        let mut barred = Barred::default();
        let number = |number| Sequence::new(number).unwrap();
        let peers = (1..).map_while(PeerId::new).take(AT_MOST + 2);
        for peer in peers.clone() {
            barred.insert(peer, number(7));
            barred.insert(peer, number(9));
            barred.insert(peer, number(8));
        }
        for (index, peer) in peers.enumerate() {
            let expected = (index >= 2).then_some(number(9));
            assert_eq!(barred.get(peer), expected, "{peer}");
        }
        assert_eq!(barred.by_id.len(), AT_MOST);
    }
}
