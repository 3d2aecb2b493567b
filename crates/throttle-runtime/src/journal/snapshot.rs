//! The records of a batch as they are read from the state machine, under the mutex, and their conversion into the
//! form in which they are stored, which is done after it is unlocked.

use std::{convert::Infallible, sync::Arc};

use throttle_core::{PeerId, SemaphoreId, Sequence, Throttle, Time};

use super::gathering::{Gathering, Touch};
use crate::{
    clock::Calendar,
    names::Names,
    store::{AbsentRecord, Meta, PeerChange, PeerRecord, SemaphoreRecord},
};

/// The records of a batch, as they were at one instant.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) meta: Option<Meta>,
    pub(crate) semaphores: Vec<SemaphoreRecord>,
    /// Names of semaphores that were removed, and not added again.
    pub(crate) removed: Vec<Arc<str>>,
    peers: Vec<(PeerId, Touch, Found)>,
    converter: Converter,
}

/// What the state machine knows of a touched peer.
#[derive(Debug)]
enum Found {
    Living(throttle_core::PeerRecord),
    Absent(Sequence, Time),
    Nothing,
}

/// Converts what means nothing to the next process: ids of semaphores and instants.
#[derive(Clone, Debug)]
pub(crate) struct Converter {
    /// Those in force when the records were read.
    pub(crate) names: Arc<Names>,
    pub(crate) calendar: Calendar,
    /// How much was left out of the lease time until then.
    pub(crate) stalled: u64,
}

impl Snapshot {
    /// Reads the records of what was touched. O(1) for each lock.
    pub(super) fn read(
        gathering: &Gathering,
        meta: Option<Meta>,
        throttle: &Throttle,
        names: &Arc<Names>,
        calendar: Calendar,
        stalled: u64,
    ) -> Self {
        let peers = gathering.peers.iter().map(|(&peer, &touch)| {
            let found = match throttle.peer_record(peer) {
                Some(record) => Found::Living(record),
                None => throttle
                    .absent_peer(peer)
                    .map_or(Found::Nothing, |(sequence, since)| Found::Absent(sequence, since)),
            };
            (peer, touch, found)
        });
        let peers = peers.collect();
        let semaphores = gathering.semaphores.iter();
        let semaphores = semaphores.filter_map(|&id| semaphore_record(throttle, names, id));
        let semaphores = semaphores.collect();
        let exists = |name: &&Arc<str>| {
            names.find(name).is_some_and(|entry| throttle.last_token(entry.id).is_ok())
        };
        let removed = gathering.removed.iter().filter(|name| !exists(name)).cloned().collect();
        let converter = Converter { names: Arc::clone(names), calendar, stalled };
        Self { meta, semaphores, removed, peers, converter }
    }

    /// The changes of the peers, sorted by id, with what happened to each.
    pub(super) fn take_peers(&mut self) -> Vec<(PeerId, Touch, PeerChange)> {
        let peers = std::mem::take(&mut self.peers).into_iter().map(|(peer, touch, found)| {
            let change = match found {
                Found::Living(record) => PeerChange::Living(self.converter.peer_record(record)),
                Found::Absent(sequence, since) => {
                    PeerChange::Absent(self.converter.absent_record(peer, sequence, since))
                }
                Found::Nothing => PeerChange::Gone,
            };
            (peer, touch, change)
        });
        let mut peers: Vec<_> = peers.collect();
        peers.sort_unstable_by_key(|&(peer, ..)| peer);
        peers
    }
}

impl Converter {
    /// # Panics
    ///
    /// If the record has a semaphore that has no name.
    pub(crate) fn peer_record(&self, record: throttle_core::PeerRecord) -> PeerRecord {
        let Self { names, calendar, stalled } = self;
        let named = record.map(
            |id| Ok::<_, Infallible>(Arc::clone(names.name(id))),
            |time| calendar.to_unix(time, *stalled),
        );
        match named {
            Ok(record) => record,
        }
    }

    pub(crate) fn absent_record(
        &self,
        peer: PeerId,
        sequence: Sequence,
        since: Time,
    ) -> AbsentRecord {
        AbsentRecord { peer, sequence, since: self.calendar.to_unix(since, self.stalled) }
    }
}

/// The record of a semaphore; `None` if it was removed. O(log n).
pub(crate) fn semaphore_record(
    throttle: &Throttle,
    names: &Names,
    id: SemaphoreId,
) -> Option<SemaphoreRecord> {
    let status = throttle.semaphore_status(id).ok()?;
    let last_token = throttle.last_token(id).ok()?;
    let name = Arc::clone(names.name(id));
    Some(SemaphoreRecord { name, last_token, max: status.max, level: status.level })
}
