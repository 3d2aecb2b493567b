//! S4 idempotence, S7 changing a count.

use expect_test::expect;

use super::check;

#[test]
fn repeating_an_acquire_takes_no_more_and_keeps_the_place() {
    check(expect![[r#"
        A = 2
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 2: granted
        1s p1 acquire A 2: granted
        1s remainder A: 0
        2s p2 acquire A 1: queued
        3s p3 acquire A 2: queued
        4s p2 acquire A 1: queued
        5s p1 release A: ok, p2 is granted
        6s p2 release A: ok, p3 is granted
    "#]]);
}

#[test]
fn repeating_a_release_or_a_removal_changes_nothing() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p1 release A: ok
        0s p1 acquire A 1: granted
        0s p1 release A: ok
        0s p1 release A: ok
        0s remainder A: 1
        0s p1 remove_peer: true
        0s p1 remove_peer: false
    "#]]);
}

#[test]
fn shrinking_a_held_lock_serves_the_waiters_that_now_fit() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 5: granted
        0s p2 acquire A 2 block_for 30s: waits
        1s p1 acquire A 4: granted
        2s p1 acquire A 3: granted, p2 receives granted
        2s remainder A: 0
    "#]]);
}

#[test]
fn a_held_lock_does_not_grow() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p1 acquire A 2: granted
        0s p1 acquire A 3: lock_hierarchy_violation
        0s p1 acquire A 6: never_acquirable
        0s remainder A: 3
    "#]]);
}

#[test]
fn a_pending_lock_shrinks_and_keeps_its_place() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 3: granted
        0s p2 acquire A 5 block_for 30s: waits
        0s p3 acquire A 1 block_for 30s: waits
        1s p2 acquire A 4: queued
        2s p2 acquire A 2: granted, p2 receives granted
        2s remainder A: 0
    "#]]);
}

#[test]
fn a_pending_lock_does_not_grow() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 4: granted
        0s p2 acquire A 2: queued
        0s p2 acquire A 3: already_pending
        1s p1 remove_peer: true, p2 is granted
        1s remainder A: 3
    "#]]);
}

#[test]
fn two_open_requests_for_the_same_lock_receive_the_same_answer() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p2 acquire A 1 block_for 30s: waits
        2s p1 release A: ok, p2 receives granted, p2 receives granted
        2s remainder A: 0
    "#]]);
}
