//! Whether a file holds a state in which a server can have been.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use throttle_core::{Damage, PeerRecord, Recovery, SemaphoreId, Settings, Throttle, Time};
use throttle_runtime::{Meta, Record, StoreError, UnixTime};

use crate::{
    archive::open_read_only,
    snapshot::{Counts, Records},
};

/// What [`verify()`] found in a file that is in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verified {
    /// The meta record; `None` if the store is new.
    pub meta: Option<Meta>,
    /// The records.
    pub counts: Counts,
    /// Locks that are held.
    pub held: u64,
    /// Locks that are awaited.
    pub awaited: u64,
}

/// Checks the store, the state file or the export at `path`, without changing it: that each checksum is right, that
/// each record can be read, and that a server could be in this state. The last is checked by the state machine, which
/// is rebuilt from the records.
///
/// # Errors
///
/// [`StoreError`] with the first thing that is wrong, or those of [`open_read_only`].
pub fn verify(path: impl AsRef<Path>) -> Result<Verified, StoreError> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let archive = open_read_only(path)?;
    let mut throttle = Throttle::new(Settings::default());
    let mut ids = BTreeMap::new();
    archive.records(&mut |record| {
        if let Record::Semaphore(semaphore) = record {
            let id = throttle.add_semaphore(Time::ZERO, semaphore.max, semaphore.level);
            ids.insert(semaphore.name, (id, semaphore.last_token));
        }
        Ok(())
    })?;
    let names =
        ids.iter().map(|(name, (id, _))| (*id, Arc::clone(name))).collect::<BTreeMap<_, _>>();
    let wrong = |damage: Damage| {
        let named = damage.map_semaphore(|id| names.get(&id).map_or("", |name| &**name));
        impossible(&name, &named)
    };
    let mut recovery = Recovery::new(throttle, Time::ZERO);
    if let Some(meta) = archive.meta()? {
        recovery.token_floor(meta.token_floor).map_err(wrong)?;
    }
    for (id, last_token) in ids.values() {
        recovery.semaphore(*id, *last_token).map_err(wrong)?;
    }
    let (mut held, mut awaited) = (0, 0);
    let meta = archive.records(&mut |record| {
        match record {
            Record::Semaphore(_) => {}
            Record::Peer(peer) => {
                held += peer.held.len() as u64;
                awaited += u64::from(peer.pending.is_some());
                let id = peer.id;
                let peer = peer.map(|name| known(&ids, &name), |UnixTime(_)| Time::ZERO);
                let peer: PeerRecord = peer.map_err(|semaphore| {
                    let reason = format!(
                        "peer {id} has a lock of semaphore {semaphore:?}, which has no record"
                    );
                    impossible(&name, &reason)
                })?;
                recovery.peer(peer).map_err(wrong)?;
            }
            Record::Absent(absent) => recovery.absent(absent.peer, absent.sequence, Time::ZERO),
        }
        Ok(())
    })?;
    recovery.finish().validate();
    Ok(Verified { meta, counts: archive.counts()?, held, awaited })
}

fn impossible(name: &str, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::new(format!("{name} can be read, but no server can be in this state: {reason}"))
}

fn known<T>(
    ids: &BTreeMap<Arc<str>, (SemaphoreId, T)>,
    name: &Arc<str>,
) -> Result<SemaphoreId, Arc<str>> {
    ids.get(name).map(|(id, _)| *id).ok_or_else(|| Arc::clone(name))
}
