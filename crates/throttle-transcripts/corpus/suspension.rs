//! Suspended grants: after a restart of a server that remembers nothing, nothing new is granted for a time.

use expect_test::expect;

use super::check;

#[test]
fn nothing_is_granted_while_grants_are_suspended_and_then_the_queue_is_served_in_order() {
    check(expect![[r#"
        A = 2
        0s suspend_grants: ok
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1 block_for 30s: waits
        1s p2 acquire A 2: queued
        1s p3 acquire A 1 block_for 30s: waits
        2s remainder A: 2
        3s resume_grants: ok, p1 receives granted
        4s p1 release A: ok, p2 is granted
        5s p2 release A: ok, p3 receives granted
    "#]]);
}

#[test]
fn holders_come_back_before_anybody_else_gets_their_locks() {
    check(expect![[r#"
        A = 1
        0s suspend_grants: ok
        0s p2 new_peer 1m: ok
        0s p2 acquire A 1 block_for 30s: waits
        1s p1 restore 10s A=1: ok
        2s p1 heartbeat 10s: ok
        2s p1 acquire A 1: granted
        3s resume_grants: ok
        4s p1 release A: ok, p2 receives granted
    "#]]);
}

#[test]
fn releases_and_expiry_go_on_while_grants_are_suspended() {
    check(expect![[r#"
        A = 2
        0s p1 new_peer 1m: ok
        0s p2 new_peer 10s: ok
        0s p3 new_peer 1m: ok
        0s p4 new_peer 10s: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: granted
        1s suspend_grants: ok
        1s p3 acquire A 2 block_for 30s: waits
        1s p4 acquire A 1: queued
        2s p1 release A: ok
        2s p1 acquire A 1: queued
        10s p3 is_acquired: false, p2 is gone, p4 is gone
        11s remainder A: 2
        12s p1 release A: ok
        13s resume_grants: ok, p3 receives granted
    "#]]);
}

#[test]
fn a_semaphore_that_is_added_or_grows_while_grants_are_suspended_grants_nothing() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s suspend_grants: ok
        1s configure B 1: ok
        1s resize A 2: ok
        2s p2 acquire A 1 block_for 5s: waits
        7s p1 acquire B 1: lock_hierarchy_violation, p2 receives queued
        8s resume_grants: ok, p2 is granted
    "#]]);
}
