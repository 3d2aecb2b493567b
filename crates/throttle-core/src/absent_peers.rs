//! Absent peers, each with the lowest sequence number that may still restore it.
//!
//! A restore creates its peer, so no peer exists that could show that the restore is late. A peer that is
//! removed or expires therefore leaves its highest number here. So does a request for a peer that does not
//! exist: the client now relies on the peer being gone. Anybody can make up such ids, so they have a table
//! of their own and cannot push out peers that existed.
//!
//! A number is kept for [`RETENTION`] if there is room. When a table is full, the oldest one is forgotten.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use crate::{PeerId, Sequence, Time};

/// The sequence numbers of absent peers.
#[derive(Debug)]
pub(crate) struct AbsentPeers {
    /// Of peers that existed.
    former: Sequences,
    /// Of peers that never did, as far as is known.
    unknown: Sequences,
}

impl Default for AbsentPeers {
    fn default() -> Self {
        Self { former: Sequences::new(MAX_FORMER), unknown: Sequences::new(MAX_UNKNOWN) }
    }
}

impl AbsentPeers {
    /// The number below which no request restores `peer`, if it is remembered. O(log n).
    pub(crate) fn latest(&self, peer: PeerId, now: Time) -> Option<Sequence> {
        self.former.get(peer, now).max(self.unknown.get(peer, now))
    }

    /// The same number, with the instant since which it is remembered. O(log n).
    pub(crate) fn remembered(&self, peer: PeerId, now: Time) -> Option<(Sequence, Time)> {
        let tables = [&self.former, &self.unknown];
        let numbers = tables.into_iter().filter_map(|table| table.remembered(peer, now));
        numbers.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)))
    }

    /// All remembered peers, each once, in the order of their ids.
    pub(crate) fn iter(&self, now: Time) -> impl Iterator<Item = (PeerId, Sequence, Time)> {
        let mut former = self.former.by_id.keys().copied().peekable();
        let mut unknown = self.unknown.by_id.keys().copied().peekable();
        let ids = core::iter::from_fn(move || match (former.peek(), unknown.peek()) {
            (Some(one), Some(other)) if one == other => former.next().and_then(|_| unknown.next()),
            (Some(one), Some(other)) if other < one => unknown.next(),
            (Some(_), _) => former.next(),
            (None, _) => unknown.next(),
        });
        ids.filter_map(move |peer| {
            let (sequence, since) = self.remembered(peer, now)?;
            Some((peer, sequence, since))
        })
    }

    /// Remembers a number again that another process remembered since this instant. O(log n).
    pub(crate) fn recover(&mut self, peer: PeerId, sequence: Sequence, since: Time) {
        self.former.recover(peer, Remembered { sequence, since });
    }

    pub(crate) fn report_forgotten(&mut self, report: bool) {
        for table in [&mut self.former, &mut self.unknown] {
            table.forgotten = report.then(VecDeque::new);
        }
    }

    /// The next peer that was forgotten while this is reported.
    pub(crate) fn poll_forgotten(&mut self) -> Option<PeerId> {
        let tables = [&mut self.former, &mut self.unknown];
        tables.into_iter().find_map(|table| table.forgotten.as_mut()?.pop_front())
    }

    /// Remembers the number of a peer that is removed or expires. O(log n).
    pub(crate) fn record_former(&mut self, peer: PeerId, sequence: Sequence, now: Time) {
        self.former.insert(peer, sequence, now);
    }

    /// Remembers that a request with this number came for a peer that does not exist. O(log n).
    pub(crate) fn record_unknown(&mut self, peer: PeerId, sequence: Sequence, now: Time) {
        if self.former.get(peer, now).is_some() {
            self.former.insert(peer, sequence, now);
        } else {
            self.unknown.insert(peer, sequence, now);
        }
    }

    /// Forgets numbers that were kept for [`RETENTION`], at most this many of each table. O(1) if there
    /// are none.
    pub(crate) fn prune(&mut self, now: Time, at_most: usize) {
        self.former.prune(now, at_most);
        self.unknown.prune(now, at_most);
    }
}

/// Sequence numbers by peer, up to a limit.
#[derive(Debug)]
struct Sequences {
    by_id: BTreeMap<PeerId, Remembered>,
    /// The same peers, by the instant when their numbers were recorded.
    oldest_first: BTreeSet<(Time, PeerId)>,
    limit: usize,
    /// Peers that were forgotten, if that is reported.
    forgotten: Option<VecDeque<PeerId>>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    sequence: Sequence,
    since: Time,
}

impl Sequences {
    const fn new(limit: usize) -> Self {
        Self { by_id: BTreeMap::new(), oldest_first: BTreeSet::new(), limit, forgotten: None }
    }

    fn get(&self, peer: PeerId, now: Time) -> Option<Sequence> {
        self.remembered(peer, now).map(|(sequence, _)| sequence)
    }

    fn remembered(&self, peer: PeerId, now: Time) -> Option<(Sequence, Time)> {
        let number = self.by_id.get(&peer).filter(|number| !number.is_outdated(now));
        number.map(|number| (number.sequence, number.since))
    }

    fn insert(&mut self, peer: PeerId, sequence: Sequence, now: Time) {
        let sequence = sequence.max(self.get(peer, now).unwrap_or_default());
        self.replace(peer, Remembered { sequence, since: now });
    }

    /// Inserts a number that may be older than others.
    fn recover(&mut self, peer: PeerId, number: Remembered) {
        let Remembered { mut sequence, mut since } = number;
        if let Some(known) = self.by_id.get(&peer) {
            (sequence, since) = (sequence.max(known.sequence), since.max(known.since));
        } else if self.by_id.len() >= self.limit
            && self.oldest_first.first().is_some_and(|&oldest| (since, peer) < oldest)
        {
            return self.report(peer);
        }
        self.replace(peer, Remembered { sequence, since });
    }

    fn replace(&mut self, peer: PeerId, number: Remembered) {
        match self.by_id.insert(peer, number) {
            Some(before) => drop(self.oldest_first.remove(&(before.since, peer))),
            None if self.by_id.len() > self.limit => self.forget_oldest(),
            None => {}
        }
        self.oldest_first.insert((number.since, peer));
    }

    fn prune(&mut self, now: Time, at_most: usize) {
        for _ in 0..at_most {
            match self.oldest_first.first() {
                Some(&(since, _)) if now.since(since) > RETENTION => self.forget_oldest(),
                _ => break,
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, peer)) = self.oldest_first.pop_first() {
            self.by_id.remove(&peer);
            self.report(peer);
        }
    }

    fn report(&mut self, forgotten: PeerId) {
        if let Some(report) = &mut self.forgotten {
            report.push_back(forgotten);
        }
    }
}

impl Remembered {
    fn is_outdated(&self, now: Time) -> bool {
        now.since(self.since) > RETENTION
    }
}

/// How long a number is kept. Late requests are late by seconds or minutes.
pub(crate) const RETENTION: Duration = Duration::from_secs(10 * 60);

/// At most 64 MB: a peer takes about 64 bytes.
const MAX_FORMER: usize = 1 << 20;

/// At most 4 MB.
const MAX_UNKNOWN: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn the_newest_entries_stay_each_with_its_highest_number() {
        let mut sequences = Sequences::new(100);
        for peer in (1..).map(peer).take(102) {
            for sequence in [7, 9, 8] {
                sequences.insert(peer, number(sequence), Time::ZERO);
            }
        }
        for (index, peer) in (1..).map(peer).take(102).enumerate() {
            let expected = (index >= 2).then_some(number(9));
            assert_eq!(sequences.get(peer, Time::ZERO), expected, "{peer}");
        }
        assert_eq!((sequences.by_id.len(), sequences.oldest_first.len()), (100, 100));
    }

    #[test]
    fn unknown_peers_push_out_only_unknown_peers() {
        let mut absent = AbsentPeers::default();
        absent.record_former(peer(1), number(5), Time::ZERO);
        absent.record_unknown(peer(2), number(5), Time::ZERO);
        for unknown in (3..).map(peer).take(MAX_UNKNOWN) {
            absent.record_unknown(unknown, number(1), Time::ZERO);
        }
        absent.record_unknown(peer(1), number(4), Time::ZERO);
        assert_eq!(absent.latest(peer(1), Time::ZERO), Some(number(5)));
        assert_eq!(absent.latest(peer(2), Time::ZERO), None);
    }

    #[test]
    fn a_number_is_forgotten_after_the_retention_unless_it_is_recorded_again() {
        let mut absent = AbsentPeers::default();
        for peer in (1..=10_000).map(peer) {
            absent.record_former(peer, number(5), Time::ZERO);
        }
        let renewed = Time::ZERO + RETENTION;
        assert_eq!(absent.latest(peer(1), renewed), Some(number(5)));
        absent.record_unknown(peer(1), number(3), renewed);
        let later = renewed + Duration::from_nanos(1);
        assert_eq!(absent.latest(peer(1), later), Some(number(5)));
        assert_eq!(absent.latest(peer(2), later), None);
        for _ in 0..100 {
            absent.prune(later, 100);
        }
        assert_eq!(absent.latest(peer(1), later), Some(number(5)));
        absent.record_unknown(peer(1), number(2), later + HOUR);
        assert_eq!(
            absent.latest(peer(1), later + HOUR),
            Some(number(2)),
            "recorded as a new entry"
        );
        assert_eq!((absent.former.by_id.len(), absent.unknown.by_id.len()), (1, 1));
        assert_eq!(absent.former.oldest_first.len(), 1);
    }

    /// S13: making room for one number costs the same after all the others were recorded again.
    #[test]
    fn the_oldest_is_forgotten_first_even_after_all_were_recorded_again() {
        let mut sequences = Sequences::new(100);
        for round in 0..2 {
            let now = Time::from_nanos(round);
            (1..=100).for_each(|id| sequences.insert(peer(id), number(5), now));
        }
        sequences.insert(peer(7), number(5), Time::from_nanos(2));
        for (oldest, new) in [1, 2, 3, 4, 5, 6, 8].into_iter().zip(101..) {
            assert_eq!(sequences.get(peer(oldest), Time::ZERO), Some(number(5)));
            sequences.insert(peer(new), number(5), Time::from_nanos(2));
            assert_eq!(sequences.get(peer(oldest), Time::ZERO), None);
            assert_eq!((sequences.by_id.len(), sequences.oldest_first.len()), (100, 100));
        }
        assert_eq!(sequences.get(peer(7), Time::ZERO), Some(number(5)));
    }

    fn peer(id: u64) -> PeerId {
        PeerId::new(id).unwrap()
    }

    fn number(number: u64) -> Sequence {
        Sequence::new(number).unwrap()
    }
}
