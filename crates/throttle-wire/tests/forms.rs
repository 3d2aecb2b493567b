//! The exact JSON of each type, so that a renamed field fails a test instead of breaking clients.

use std::{fmt::Debug, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{from_value, json, to_value};
use throttle_wire::{
    Code, Heartbeat, HeldGrant, HeldLock, Holder, LockAnswer, LockRequest, NewPeer, PeerStatus,
    PendingLock, Problem, Readiness, Release, Reloaded, Remainder, RemovePeer, Restore,
    SemaphoreOverview, SemaphoreStatus, Waiter,
};

/// Checks that `value` is written as `json`, and `json` is read as `value`.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, json: serde_json::Value) {
    assert_eq!(to_value(&value).unwrap(), json);
    assert_eq!(from_value::<T>(json).unwrap(), value);
}

const MINUTES: Duration = Duration::from_secs(300);

#[test]
fn requests_about_peers() {
    check(
        NewPeer {
            expires_in: MINUTES,
            labels: [("host".to_owned(), "worker-7".to_owned())].into(),
        },
        json!({ "expires_in": "5m", "labels": { "host": "worker-7" } }),
    );
    check(
        NewPeer { expires_in: Duration::from_millis(100), labels: [].into() },
        json!({ "expires_in": "100ms" }),
    );
    check(Heartbeat { expires_in: 144 * MINUTES }, json!({ "expires_in": "12h" }));
    let restore = Restore {
        expires_in: MINUTES,
        peer_id: 42,
        acquired: [("A".to_owned(), 3), ("B".to_owned(), 1)].into(),
        labels: [].into(),
        sequence: None,
    };
    check(
        restore.clone(),
        json!({ "expires_in": "5m", "peer_id": 42, "acquired": { "A": 3, "B": 1 } }),
    );
    check(
        Restore { sequence: Some(7), acquired: [].into(), ..restore },
        json!({ "expires_in": "5m", "peer_id": 42, "acquired": {}, "sequence": 7 }),
    );
}

#[test]
fn requests_about_locks() {
    check(
        LockRequest {
            expires_in: Some(MINUTES),
            block_for: Some(Duration::from_secs(10)),
            sequence: Some(7),
        },
        json!({ "expires_in": "5m", "block_for": "10s", "sequence": 7 }),
    );
    check(Release { sequence: Some(7) }, json!({ "sequence": 7 }));
    check(Release::default(), json!({}));
    check(RemovePeer { sequence: Some(7) }, json!({ "sequence": 7 }));
    check(RemovePeer::default(), json!({}));
    check(LockRequest::default(), json!({}));
    check(Remainder { semaphore: "/&".to_owned() }, json!({ "semaphore": "/&" }));
}

#[test]
fn answers_to_lock_requests() {
    let held = LockAnswer {
        peer_id: 42,
        semaphore: "A".to_owned(),
        count: 3,
        acquired: true,
        fencing_token: Some(7),
    };
    check(
        held.clone(),
        json!({
            "peer_id": 42, "semaphore": "A", "count": 3, "acquired": true, "fencing_token": 7,
        }),
    );
    check(
        LockAnswer { acquired: false, fencing_token: None, ..held },
        json!({ "peer_id": 42, "semaphore": "A", "count": 3, "acquired": false }),
    );
}

#[test]
fn the_status_of_a_peer() {
    check(
        PeerStatus {
            id: 42,
            expires_in: MINUTES,
            expires_in_seconds: MINUTES.into(),
            time_left: MINUTES,
            time_left_seconds: MINUTES.into(),
            labels: [].into(),
            held: vec![HeldLock {
                semaphore: "A".to_owned(),
                count: 1,
                fencing_token: 7,
                held_for: Duration::from_millis(1_500),
                held_for_seconds: Duration::from_millis(1_500).into(),
            }],
            pending: Some(PendingLock {
                semaphore: "B".to_owned(),
                count: 2,
                waiting_for: Duration::ZERO,
                waiting_for_seconds: Duration::ZERO.into(),
                parked: true,
                place: Some(3),
            }),
        },
        json!({
            "id": 42, "expires_in": "5m", "expires_in_seconds": 300.0, "time_left": "5m", "time_left_seconds": 300.0, "labels": {},
            "held": [{ "semaphore": "A", "count": 1, "fencing_token": 7, "held_for": "1s 500ms", "held_for_seconds": 1.5 }],
            "pending": { "semaphore": "B", "count": 2, "waiting_for": "0s", "waiting_for_seconds": 0.0, "parked": true, "place": 3 },
        }),
    );
}

#[test]
fn a_semaphore_with_its_holders_and_waiters() {
    let status = SemaphoreStatus {
        name: "A".to_owned(),
        max: 3,
        level: -1,
        held: 4,
        pending: 1,
        remainder: -1,
        holders: 1,
        waiters: 1,
        longest_pending: MINUTES,
        longest_pending_seconds: MINUTES.into(),
        retired: false,
        next_level: None,
    };
    let holder = holder();
    let waiter = Waiter {
        peer_id: 43,
        count: 1,
        waiting_for: MINUTES,
        waiting_for_seconds: MINUTES.into(),
        parked: false,
        time_left: MINUTES,
        time_left_seconds: MINUTES.into(),
        labels: [].into(),
    };
    check(
        SemaphoreOverview { status, held_by: vec![holder], queue: vec![waiter] },
        json!({
            "name": "A", "max": 3, "level": -1, "held": 4, "pending": 1, "remainder": -1,
            "holders": 1, "waiters": 1, "longest_pending": "5m", "longest_pending_seconds": 300.0,
            "held_by": [{
                "peer_id": 42, "count": 4, "fencing_token": 7, "held_for": "5m", "held_for_seconds": 300.0,
                "time_left": "5m", "time_left_seconds": 300.0, "labels": {},
            }],
            "queue": [{
                "peer_id": 43, "count": 1, "waiting_for": "5m", "waiting_for_seconds": 300.0, "parked": false,
                "time_left": "5m", "time_left_seconds": 300.0, "labels": {},
            }],
        }),
    );
}

fn holder() -> Holder {
    Holder {
        peer_id: 42,
        count: 4,
        fencing_token: 7,
        held_for: MINUTES,
        held_for_seconds: MINUTES.into(),
        time_left: MINUTES,
        time_left_seconds: MINUTES.into(),
        labels: [].into(),
    }
}

/// D9
#[test]
fn a_semaphore_that_the_configuration_no_longer_matches() {
    let status = SemaphoreStatus {
        name: "A".to_owned(),
        max: 3,
        level: 1,
        held: 1,
        pending: 0,
        remainder: 2,
        holders: 1,
        waiters: 0,
        longest_pending: Duration::ZERO,
        longest_pending_seconds: Duration::ZERO.into(),
        retired: true,
        next_level: Some(-1),
    };
    check(
        status,
        json!({
            "name": "A", "max": 3, "level": 1, "held": 1, "pending": 0, "remainder": 2,
            "holders": 1, "waiters": 0, "longest_pending": "0s", "longest_pending_seconds": 0.0,
            "retired": true, "next_level": -1,
        }),
    );
}

#[test]
fn the_holder_of_a_fencing_token() {
    check(
        HeldGrant { semaphore: "A".to_owned(), holder: holder() },
        json!({
            "semaphore": "A", "peer_id": 42, "count": 4, "fencing_token": 7, "held_for": "5m",
            "held_for_seconds": 300.0, "time_left": "5m", "time_left_seconds": 300.0, "labels": {},
        }),
    );
}

#[test]
fn whether_a_server_is_ready() {
    let ready =
        Readiness { ready: true, grace_left: None, grace_left_seconds: None, durable: true };
    check(ready, json!({ "ready": true, "durable": true }));
    check(
        Readiness {
            grace_left: Some(MINUTES),
            grace_left_seconds: Some(MINUTES.into()),
            durable: false,
            ..ready
        },
        json!({ "ready": true, "grace_left": "5m", "grace_left_seconds": 300.0, "durable": false }),
    );
}

/// D10
#[test]
fn the_problem_of_an_unknown_peer() {
    let problem = Problem::new(Code::UnknownPeer, "Unknown peer".to_owned());
    check(
        Problem {
            uptime: Some(Duration::from_secs(5)),
            uptime_seconds: Some(Duration::from_secs(5).into()),
            remembers_for: Some(MINUTES),
            remembers_for_seconds: Some(MINUTES.into()),
            ..problem
        },
        json!({
            "type": "urn:throttle:error:unknown_peer", "title": "Unknown peer", "status": 400,
            "detail": "Unknown peer", "code": "unknown_peer",
            "uptime": "5s", "uptime_seconds": 5.0, "remembers_for": "5m", "remembers_for_seconds": 300.0,
        }),
    );
}

#[test]
fn the_outcome_of_a_reload() {
    let names = |name: &str| vec![name.to_owned()];
    check(
        Reloaded {
            added: names("A"),
            changed: names("B"),
            removed: names("C"),
            retired: names("D"),
            deferred: names("E"),
        },
        json!({
            "added": ["A"], "changed": ["B"], "removed": ["C"], "retired": ["D"], "deferred": ["E"],
        }),
    );
}

/// Older servers do not send them.
#[test]
fn answers_without_numbers_of_seconds_are_read() {
    let holder = json!({ "peer_id": 1, "count": 1, "fencing_token": 7, "held_for": "5m", "time_left": "5m" });
    let holder = from_value::<Holder>(holder).unwrap();
    assert_eq!((holder.held_for, holder.held_for_seconds), (MINUTES, Duration::ZERO.into()));
}

/// Older servers do not send them.
#[test]
fn a_reload_without_retired_and_deferred_semaphores_is_read() {
    let reloaded = json!({ "added": ["A"], "changed": [], "removed": [] });
    let reloaded = from_value::<Reloaded>(reloaded).unwrap();
    assert_eq!(reloaded, Reloaded { added: vec!["A".to_owned()], ..Reloaded::default() });
}
