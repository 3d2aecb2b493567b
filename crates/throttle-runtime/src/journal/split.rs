//! How a batch that is larger than the store takes is written in parts.
//!
//! This happens if one operation alone touches more than a batch can hold, such as a raised maximum that grants very
//! many waiters their locks. The parts are ordered such that a crash between two of them leaves something free, but
//! nothing held twice:
//!
//! 1. the semaphores, so that each token that follows is recorded as issued;
//! 2. peers that only gave up locks, or hold what they held, in any order;
//! 3. peers that did both, together in one part, because each may hold what another of them gave up;
//! 4. peers that only gained locks, in the order of the grants;
//! 5. the removal of semaphores, which nobody holds then.
//!
//! What a peer holds in a later part was given up in an earlier one, or was free before. Part 3 fits into one batch:
//! in one critical section, only the peer whose operation it is can both give up a lock and gain one, and stay; the
//! others have been touched before, so they are fewer than the limit at which a batch is sealed. Only a batch that
//! gathered while the store hung may have more; a store that cannot take them fails then.

use std::{mem, sync::Arc};

use throttle_core::{FencingToken, PeerId};

use super::{gathering::Touch, snapshot::Snapshot};
use crate::store::{Batch, PeerChange};

/// The batches to write, in this order. Each has at most `max` records, but for the exception above.
pub(super) fn split(mut snapshot: Snapshot, max: usize) -> Vec<Batch> {
    let peers = snapshot.take_peers();
    let Snapshot { meta, semaphores, removed, .. } = snapshot;
    let mut parts = Parts { done: Vec::new(), last: Batch { meta, ..Batch::default() }, max };
    let total = parts.last.len() + semaphores.len() + removed.len() + peers.len();
    for record in semaphores {
        parts.make_room(1).semaphores.push((Arc::clone(&record.name), Some(record)));
    }
    if total <= max {
        parts.last.peers.extend(peers.into_iter().map(|(peer, _, change)| (peer, change)));
    } else {
        parts.add_peers(peers);
    }
    for name in removed {
        parts.make_room(1).semaphores.push((name, None));
    }
    let Parts { mut done, last, .. } = parts;
    if !last.is_empty() {
        done.push(last);
    }
    done
}

struct Parts {
    done: Vec<Batch>,
    last: Batch,
    max: usize,
}

impl Parts {
    /// The last batch, with room for this many records.
    fn make_room(&mut self, records: usize) -> &mut Batch {
        if !self.last.is_empty() && self.last.len() + records > self.max {
            self.done.push(mem::take(&mut self.last));
        }
        &mut self.last
    }

    fn add_peers(&mut self, peers: Vec<(PeerId, Touch, PeerChange)>) {
        let (mut both, mut gained) = (Vec::new(), Vec::new());
        for (peer, touch, change) in peers {
            match (touch, &change) {
                (Touch { gained: true, gave_up: true }, PeerChange::Living(_)) => {
                    both.push((peer, change));
                }
                (Touch { gained: true, gave_up: false }, PeerChange::Living(_)) => {
                    gained.push((peer, change));
                }
                _ => self.make_room(1).peers.push((peer, change)),
            }
        }
        self.make_room(both.len()).peers.extend(both);
        gained.sort_by_key(|(_, change)| latest_token(change));
        for record in gained {
            self.make_room(1).peers.push(record);
        }
    }
}

/// The token of the latest grant of a peer.
fn latest_token(change: &PeerChange) -> Option<FencingToken> {
    match change {
        PeerChange::Living(record) => record.held.last().map(|lock| lock.token),
        PeerChange::Absent(_) | PeerChange::Gone => None,
    }
}
