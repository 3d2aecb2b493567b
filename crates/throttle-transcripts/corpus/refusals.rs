//! S5 one pending lock a peer, S6 lock hierarchy, S12 errors change nothing, and arguments that
//! cannot be.

use expect_test::expect;

use super::check;

#[test]
fn a_peer_waits_for_one_lock_at_a_time() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: queued
        0s p2 acquire B 1: already_pending
        0s remainder B: 1
    "#]]);
}

#[test]
fn who_waits_is_still_told_what_it_holds() {
    check(expect![[r#"
        A = 2 level 1
        B = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire B 1: granted
        0s p2 acquire A 2: granted
        0s p2 acquire B 1: queued
        0s p2 acquire A 2: granted
        0s p2 acquire A 1: granted
        0s remainder A: 1
    "#]]);
}

#[test]
fn locks_are_taken_from_high_levels_to_low_ones() {
    check(expect![[r#"
        A = 1 level 2
        B = 1 level 1
        C = 1 level -5
        0s p1 join 1m: ok
        0s p1 acquire A 1: granted
        0s p1 acquire B 1: granted
        0s p1 acquire C 1: granted
        0s p2 join 1m: ok
        0s p1 release B: ok
        0s p1 acquire B 1: lock_hierarchy_violation
        0s p2 acquire B 1: granted
        0s p2 acquire A 1: lock_hierarchy_violation
    "#]]);
}

#[test]
fn a_hierarchy_violation_is_told_at_once_also_when_the_semaphore_is_free() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 join 1m: ok
        0s p1 acquire A 1: granted
        0s p1 acquire B 1 blocking 30s: lock_hierarchy_violation
        0s remainder B: 1
        0s p1 release A: ok
        0s p1 acquire B 1: granted
    "#]]);
}

#[test]
fn what_can_never_be_acquired_is_refused_at_once() {
    check(expect![[r#"
        A = 5
        0s p1 join 1m: ok
        0s p1 acquire A 9 blocking 30s: never_acquirable
        0s p1 acquire A 5: granted
    "#]]);
}

#[test]
fn counts_are_positive() {
    check(expect![[r#"
        A = 5
        0s p1 join 1m: ok
        0s p1 acquire A 0: invalid_lock_count
        0s p1 acquire A -3: invalid_lock_count
        0s p1 restore 1m A=0: invalid_lock_count
        0s remainder A: 5
    "#]]);
}

#[test]
fn strangers_are_told_that_nobody_knows_them() {
    check(expect![[r#"
        A = 1
        0s p1 acquire A 1: unknown_peer
        0s p1 heartbeat 1m: unknown_peer
        0s p1 release A: unknown_peer
        0s p1 ask: unknown_peer
        0s p1 leave: false
        0s p1 join 1m: ok
        0s p1 acquire Z 1: unknown_semaphore
        0s p1 release Z: unknown_semaphore
        0s remainder Z: unknown_semaphore
    "#]]);
}

#[test]
fn releasing_one_semaphore_leaves_a_pending_lock_on_another_alone() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        1s p2 release B: ok
        2s p1 release A: ok, p2 hears granted
    "#]]);
}
