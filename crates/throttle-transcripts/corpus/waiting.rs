//! S15 parked waiters, S16 a removed waiter is answered at once.

use expect_test::expect;

use super::check;

#[test]
fn a_wait_whose_time_is_over_is_answered_and_keeps_its_place() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 5s: waits
        1s p3 acquire A 1 block_for 30s: waits
        5s wait: ok, p2 receives queued
        20s p1 release A: ok, p2 is granted
    "#]]);
}

#[test]
fn a_waiter_whose_connection_broke_is_passed_over() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        0s p3 acquire A 1 block_for 30s: waits
        1s p2 disconnect: ok
        2s p1 release A: ok, p3 receives granted
        2s p2 is_acquired: false
    "#]]);
}

#[test]
fn when_the_connection_of_the_head_breaks_the_next_waiters_that_fit_are_served() {
    check(expect![[r#"
        A = 3
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 3 block_for 30s: waits
        0s p3 acquire A 1 block_for 30s: waits
        1s p2 disconnect: ok, p3 receives granted
    "#]]);
}

#[test]
fn a_parked_waiter_that_asks_again_in_time_has_its_old_place() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        0s p3 acquire A 1 block_for 30s: waits
        1s p2 disconnect: ok
        10s p2 acquire A 1 block_for 30s: waits
        12s p1 release A: ok, p2 receives granted
    "#]]);
}

#[test]
fn a_parked_waiter_that_asks_again_is_granted_a_free_lock_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p2 disconnect: ok
        2s p1 release A: ok
        2s remainder A: 1
        3s p2 acquire A 1 block_for 30s: granted
    "#]]);
}

#[test]
fn a_parked_waiter_that_does_not_ask_again_in_time_loses_its_place_but_not_its_other_locks() {
    check(expect![[r#"
        A = 1 level 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire B 1: granted
        0s p2 acquire A 1: granted
        0s p2 acquire B 1 block_for 30s: waits
        1s p2 disconnect: ok
        2s p3 acquire B 1: queued
        11s wait: ok, p2 waits no more
        11s p2 is_acquired: true
        11s remainder A: 0
        12s p2 acquire B 1: queued
        13s p1 release B: ok, p3 is granted
    "#]]);
}

#[test]
fn a_waiter_with_another_open_request_is_not_parked() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 5s: waits
        0s p2 acquire A 1 block_for 30s: waits
        5s wait: ok, p2 receives queued
        6s p1 release A: ok, p2 receives granted
    "#]]);
}

#[test]
fn the_lease_of_a_parked_waiter_runs_again() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 3s: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        5s p2 disconnect: ok
        7s p2 is_acquired: false
        8s p2 is_acquired: unknown_peer
    "#]]);
}

#[test]
fn a_waiter_that_is_removed_is_answered_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p2 remove_peer: true, p2 receives unknown_peer
        2s p1 release A: ok
        2s remainder A: 1
    "#]]);
}

#[test]
fn a_waiter_whose_pending_lock_is_cancelled_is_answered_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p2 release A: ok, p2 receives cancelled
        1s p2 is_acquired: true
    "#]]);
}
