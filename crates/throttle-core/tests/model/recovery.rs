//! A machine that is rebuilt from its records, between any two commands.

use throttle_core::{Count, Level, PeerRecord, Recovery, SemaphoreId, Settings, Throttle, Time};

use crate::{
    life::{drain, live, lives},
    snapshot::Snapshot,
};

/// Rebuilds a machine as an embedder does that keeps the records, and knows which semaphores are wanted.
pub(crate) fn recover(
    throttle: &Throttle,
    settings: Settings,
    semaphores: &[SemaphoreId],
    now: Time,
    suspend: bool,
) -> Throttle {
    let mut recovered = Throttle::new(settings).with_last_token(throttle.token_floor());
    if suspend {
        recovered.suspend_grants(now);
    }
    for &id in semaphores {
        if let Ok(status) = throttle.semaphore_status(id) {
            let added = recovered.add_semaphore(now, status.max, status.level);
            assert_eq!(added, id, "ids count up");
        } else {
            recovered.add_semaphore(now, Count::ONE, Level(0));
            assert_eq!(recovered.remove_semaphore(now, id), Ok(true));
        }
    }
    let mut recovery = Recovery::new(recovered, now);
    let known = semaphores.iter().filter_map(|&id| throttle.semaphore_status(id).ok());
    let known: Vec<_> = known.collect();
    for semaphore in &known {
        let last_token = throttle.last_token(semaphore.id).expect("it is known");
        recovery.semaphore(semaphore.id, last_token).expect("a live machine is not damaged");
        if semaphore.retired {
            recovery.retire(semaphore.id).expect("a live machine is not damaged");
        }
    }
    for (_, record) in throttle.records(None) {
        recovery.peer(record).expect("a live machine is not damaged");
    }
    for (peer, sequence, since) in throttle.absent_peers() {
        recovery.absent(peer, sequence, since);
    }
    let mut recovered = recovery.finish();
    for semaphore in known {
        if let Some(level) = semaphore.next_level {
            assert_eq!(recovered.set_level(now, semaphore.id, level), Ok(false), "it is in use");
        }
    }
    recovered
}

/// D2, D7: the records are complete. The only differences are those that are meant: leases are full, and no
/// waiter is parked. Grants are suspended, because a waiter that was parked may be granted its lock.
#[test]
fn the_records_read_at_any_moment_give_the_live_state() {
    let (mut steps, mut waiting, mut parked, mut retired, mut absent) = (0, 0, 0, 0, 0);
    let lived = lives(LIVES, |u| {
        let mut semaphores = Vec::new();
        live(u, |throttle, step| {
            let known = step.after.semaphores.iter().map(|semaphore| semaphore.id);
            let new: Vec<_> = known.filter(|id| !semaphores.contains(id)).collect();
            semaphores.extend(new);
            // One after the other, so that the ids are those of the live machine.
            let skips = semaphores.iter().zip(0..).any(|(id, index)| id.index() != index);
            // A peer with a lease of zero length is gone before the next operation.
            let hasty = step.after.peers.iter().any(|peer| peer.expires_in.is_zero());
            if skips || hasty {
                return;
            }
            let now = step.after.now;
            let mut recovered = recover(throttle, SETTINGS, &semaphores, now, true);
            recovered.validate();
            assert_eq!(drain(&mut recovered), [], "what is recovered has no events");
            assert_eq!(records(&recovered), records(throttle), "after {:?}", step.command);
            assert!(recovered.absent_peers().eq(throttle.absent_peers()), "{:?}", step.command);
            assert_eq!(recovered.token_floor(), throttle.token_floor());
            for semaphore in &step.after.semaphores {
                let last = throttle.last_token(semaphore.id).unwrap();
                let expected = last.max(throttle.token_floor());
                assert_eq!(recovered.last_token(semaphore.id), Ok(expected));
            }
            let seen = Snapshot::of(&recovered, &semaphores);
            let expected = step.after.clone().recovered();
            assert_eq!(seen, expected, "after {:?}", step.command);
            steps += 1;
            let mut waiters = step.after.semaphores.iter().flat_map(|known| &known.waiters);
            waiting += usize::from(waiters.clone().next().is_some());
            parked += usize::from(waiters.any(|waiter| waiter.parked));
            retired += step.after.semaphores.iter().filter(|known| known.status.retired).count();
            absent += usize::from(throttle.absent_peers().next().is_some());
        })
    });
    let covered = [steps, waiting, parked, retired, absent].iter().all(|&times| times >= 200);
    assert!(lived < LIVES || covered, "{steps} {waiting} {parked} {retired} {absent}");
}

/// The records in the order of the peers' ids.
fn records(throttle: &Throttle) -> Vec<PeerRecord> {
    let mut all: Vec<_> = throttle.records(None).map(|(_, record)| record).collect();
    all.sort_by_key(|record| record.id);
    let found = all.iter().map(|record| throttle.peer_record(record.id));
    assert!(found.eq(all.iter().cloned().map(Some)), "a record is found by the id of its peer");
    all
}

/// Limits do not apply to recovered peers.
const SETTINGS: Settings = Settings {
    abandoned_after: std::time::Duration::ZERO,
    max_label_bytes: 0,
    max_peers: 0,
    max_waiters: 0,
};

const LIVES: u64 = 200;
