//! S5 one pending lock per peer, S6 lock hierarchy, S12 errors change nothing, and invalid arguments.

use expect_test::expect;

use super::check;

#[test]
fn a_peer_waits_for_one_lock_at_a_time() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: queued
        0s p2 acquire B 1: already_pending
        0s remainder B: 1
    "#]]);
}

#[test]
fn a_waiting_peer_can_still_ask_for_what_it_holds() {
    check(expect![[r#"
        A = 2 level 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
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
        0s p1 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p1 acquire B 1: granted
        0s p1 acquire C 1: granted
        0s p2 new_peer 1m: ok
        0s p1 release B: ok
        0s p1 acquire B 1: lock_hierarchy_violation
        0s p2 acquire B 1: granted
        0s p2 acquire A 1: lock_hierarchy_violation
    "#]]);
}

#[test]
fn a_hierarchy_violation_is_refused_at_once_even_if_the_semaphore_is_free() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p1 acquire B 1 block_for 30s: lock_hierarchy_violation
        0s remainder B: 1
        0s p1 release A: ok
        0s p1 acquire B 1: granted
    "#]]);
}

#[test]
fn a_count_above_the_maximum_is_refused_at_once() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p1 acquire A 9 block_for 30s: never_acquirable
        0s p1 acquire A 5: granted
    "#]]);
}

#[test]
fn counts_are_positive() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p1 acquire A 0: invalid_lock_count
        0s p1 acquire A -3: invalid_lock_count
        0s p1 restore 1m A=0: invalid_lock_count
        0s remainder A: 5
    "#]]);
}

#[test]
fn unknown_peers_and_unknown_semaphores_are_refused() {
    check(expect![[r#"
        A = 1
        0s p1 acquire A 1: unknown_peer
        0s p1 heartbeat 1m: unknown_peer
        0s p1 release A: unknown_peer
        0s p1 is_acquired: unknown_peer
        0s p1 remove_peer: false
        0s p1 new_peer 1m: ok
        0s p1 acquire Z 1: unknown_semaphore
        0s p1 release Z: unknown_semaphore
        0s remainder Z: unknown_semaphore
    "#]]);
}

#[test]
fn releasing_one_semaphore_does_not_affect_a_pending_lock_on_another() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p2 release B: ok
        2s p1 release A: ok, p2 receives granted
    "#]]);
}
