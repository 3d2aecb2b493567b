//! S1 capacity, S2 fairness, S3 no lost wake-up.

use expect_test::expect;

use super::check;

#[test]
fn counts_add_up_to_the_maximum_at_most() {
    check(expect![[r#"
        A = 3
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 2: granted
        0s p2 acquire A 1: granted
        0s p3 acquire A 1: queued
        0s remainder A: 0
    "#]]);
}

#[test]
fn a_large_request_is_not_starved_by_small_ones() {
    check(expect![[r#"
        A = 3
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 2: granted
        0s p2 acquire A 3: queued
        0s p3 acquire A 1: queued
        5s remainder A: 1
        5s p1 release A: ok, p2 is granted
        6s p2 release A: ok, p3 is granted
    "#]]);
}

#[test]
fn a_release_serves_waiters_from_the_head_as_long_as_they_fit() {
    check(expect![[r#"
        A = 4
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p4 new_peer 1m: ok
        0s p5 new_peer 1m: ok
        0s p1 acquire A 4: granted
        0s p2 acquire A 1 block_for 30s: waits
        0s p3 acquire A 2 block_for 30s: waits
        0s p4 acquire A 2 block_for 30s: waits
        0s p5 acquire A 1 block_for 30s: waits
        5s p1 release A: ok, p2 receives granted, p3 receives granted
        6s p2 release A: ok, p4 receives granted
    "#]]);
}

#[test]
fn when_the_head_of_the_queue_withdraws_the_next_waiters_that_fit_are_served() {
    check(expect![[r#"
        A = 3
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 3 block_for 30s: waits
        0s p3 acquire A 2 block_for 30s: waits
        5s p2 release A: ok, p2 receives cancelled, p3 receives granted
    "#]]);
}

#[test]
fn removing_a_peer_frees_all_its_locks_at_once() {
    check(expect![[r#"
        A = 1 level 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p1 acquire B 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        0s p3 acquire B 1 block_for 30s: waits
        5s p1 remove_peer: true, p2 receives granted, p3 receives granted
        6s p1 remove_peer: false
    "#]]);
}

#[test]
fn a_peer_that_releases_a_lock_and_asks_again_joins_the_end_of_the_queue() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p1 release A: ok, p2 receives granted
        1s p1 acquire A 1 block_for 30s: waits
        2s p2 release A: ok, p1 receives granted
    "#]]);
}

#[test]
fn semaphores_are_independent_of_each_other() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: queued
        0s p3 acquire B 1: granted
    "#]]);
}
