//! S9 restore.

use expect_test::expect;

use super::check;

#[test]
fn a_forgotten_peer_comes_back_with_its_locks() {
    check(expect![[r#"
        A = 5 level 1
        B = 1
        0s p1 restore 10s A=3 B=1: ok
        0s remainder A: 2
        0s remainder B: 0
        0s p1 acquire A 3: granted
        5s p1 restore 10s A=3 B=1: ok
        14s p1 is_acquired: true
        15s p1 is_acquired: unknown_peer
    "#]]);
}

#[test]
fn restored_locks_may_exceed_the_maximum_and_grants_resume_when_they_fit_again() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 restore 1m A=1: ok
        0s remainder A: -1
        0s p3 new_peer 1m: ok
        0s p3 acquire A 1 block_for 30s: waits
        1s p1 release A: ok
        2s p2 release A: ok, p3 receives granted
    "#]]);
}

#[test]
fn restore_does_not_change_the_locks_of_an_existing_peer() {
    check(expect![[r#"
        A = 5
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 3: granted
        0s p1 restore 1m A=2: restore_conflict
        0s p1 restore 1m: restore_conflict
        0s p1 restore 1m A=3 B=1: restore_conflict
        0s p1 restore 1m A=3: ok
        0s p2 acquire A 3: queued
        0s p2 restore 1m: restore_conflict
        0s remainder A: 2
    "#]]);
}

#[test]
fn a_restore_with_an_unknown_semaphore_is_refused_as_a_whole() {
    check(expect![[r#"
        A = 5
        0s p1 restore 1m A=1 Z=1: unknown_semaphore
        0s p1 is_acquired: unknown_peer
        0s remainder A: 5
    "#]]);
}
