//! What the lives covered. A generator that proves nothing must fail.

use std::collections::BTreeMap;

use throttle_core::Error;

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub(crate) fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn note_refusal(&mut self, error: Error) {
        self.note(error.code());
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    /// Everything in [`EXPECTED`] happened at least this often.
    pub(crate) fn assert_complete(&self, at_least: u64) {
        let unknown: Vec<_> = self.0.keys().filter(|what| !EXPECTED.contains(what)).collect();
        assert!(unknown.is_empty(), "noted, but not expected: {unknown:?}");
        let times = |what: &&str| self.0.get(what).copied().unwrap_or_default();
        let rare: Vec<_> = EXPECTED.iter().filter(|what| times(what) < at_least).collect();
        assert!(rare.is_empty(), "less than {at_least} times: {rare:?} of {self:#?}");
    }
}

/// Everything that has to happen. Refusals are listed by their codes, except `invalid_lock_count`: a
/// command cannot hold a count below one.
const EXPECTED: &[&str] = &[
    "already_pending",
    "lock_count_too_large",
    "lock_hierarchy_violation",
    "never_acquirable",
    "peer_exists",
    "restore_conflict",
    "stale_request",
    "too_many_label_bytes",
    "too_many_peers",
    "too_many_waiters",
    "unknown_peer",
    "unknown_semaphore",
    "cancelled: no longer acquirable",
    "cancelled: withdrawn",
    "clock: backwards",
    "clock: behind the present",
    "clock: end of time",
    "expired: a chain of peers just granted",
    "expired: holding",
    "expired: idle",
    "expired: several at one instant",
    "expired: waiting",
    "level: changed when unused",
    "level: deferred",
    "level: no longer deferred",
    "granted: at once",
    "granted: at once beside parked waiters",
    "granted: before a parked waiter",
    "granted: later",
    "granted: several in one step",
    "parked",
    "parked: abandoned",
    "parked: resumed",
    "parked: resumed and granted",
    "queued",
    "queued: although it would fit",
    "queued: holding",
    "recovered",
    "recovered: and granted",
    "recovered: in the backlog",
    "recovered: with absent peers",
    "recovered: with deferred levels",
    "recovered: with holders",
    "recovered: with open requests",
    "recovered: with parked waiters",
    "recovered: with retired ones",
    "recovered: with suspended grants",
    "recovered: with waiters",
    "released",
    "released: nothing",
    "removed: holding",
    "removed: idle",
    "removed: waiting",
    "renewed: in the backlog",
    "renewed: with another length",
    "repeated: held",
    "repeated: held while waiting for another",
    "repeated: pending",
    "request: answered pending",
    "request: broken",
    "request: cancelled",
    "request: granted",
    "request: one of several closed",
    "request: already over",
    "request: of an earlier wait",
    "resized: down",
    "resized: up, and granted",
    "restored",
    "restored: above the maximum",
    "restored: again",
    "restored: past a queue",
    "retired: all waiters left",
    "retired: holding peer restored again",
    "retired: reinstated",
    "retired: released by the last holder",
    "retired: repeated by a holder",
    "retired: unknown to others",
    "retired: unknown to restores",
    "retired: waiters cancelled",
    "retired: with holders",
    "semaphore: changed its level",
    "semaphore: removed",
    "resumed",
    "resumed: and granted",
    "resumed: in part",
    "sequence: accepted",
    "sequence: left behind",
    "shrunk: held",
    "shrunk: held, and granted",
    "shrunk: pending",
    "shrunk: pending, and granted",
    "stale: overtaken",
    "stale: peer absent",
    "suspended",
];
