//! S1 capacity, S2 fairness, S3 no lost wake-up.

use expect_test::expect;

use super::check;

#[test]
fn counts_add_up_to_the_maximum_and_not_beyond() {
    check(expect![[r#"
        A = 3
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
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
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 2: granted
        0s p2 acquire A 3: queued
        0s p3 acquire A 1: queued
        5s remainder A: 1
        5s p1 release A: ok, p2 is granted
        6s p2 release A: ok, p3 is granted
    "#]]);
}

#[test]
fn a_release_serves_everybody_who_fits_from_the_head_on() {
    check(expect![[r#"
        A = 4
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p4 join 1m: ok
        0s p5 join 1m: ok
        0s p1 acquire A 4: granted
        0s p2 acquire A 1 blocking 30s: waits
        0s p3 acquire A 2 blocking 30s: waits
        0s p4 acquire A 2 blocking 30s: waits
        0s p5 acquire A 1 blocking 30s: waits
        5s p1 release A: ok, p2 hears granted, p3 hears granted
        6s p2 release A: ok, p4 hears granted
    "#]]);
}

#[test]
fn when_a_waiter_at_the_head_withdraws_those_behind_it_that_fit_are_served() {
    check(expect![[r#"
        A = 3
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 3 blocking 30s: waits
        0s p3 acquire A 2 blocking 30s: waits
        5s p2 release A: ok, p2 hears cancelled, p3 hears granted
    "#]]);
}

#[test]
fn removing_a_peer_frees_all_its_locks_at_once() {
    check(expect![[r#"
        A = 1 level 1
        B = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1: granted
        0s p1 acquire B 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        0s p3 acquire B 1 blocking 30s: waits
        5s p1 leave: true, p2 hears granted, p3 hears granted
        6s p1 leave: false
    "#]]);
}

#[test]
fn whoever_gives_a_lock_back_and_wants_it_again_goes_to_the_end_of_the_queue() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        1s p1 release A: ok, p2 hears granted
        1s p1 acquire A 1 blocking 30s: waits
        2s p2 release A: ok, p1 hears granted
    "#]]);
}

#[test]
fn semaphores_do_not_hold_each_other_up() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: queued
        0s p3 acquire B 1: granted
    "#]]);
}
