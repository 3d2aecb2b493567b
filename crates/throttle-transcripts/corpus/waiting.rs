//! S15 waiters that went away, S16 a removed waiter hears at once.

use expect_test::expect;

use super::check;

#[test]
fn a_wait_that_is_over_is_answered_and_keeps_its_place() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 5s: waits
        1s p3 acquire A 1 blocking 30s: waits
        5s wait: ok, p2 hears queued
        20s p1 release A: ok, p2 is granted
    "#]]);
}

#[test]
fn a_waiter_whose_connection_broke_is_granted_nothing_and_holds_nobody_up() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        0s p3 acquire A 1 blocking 30s: waits
        1s p2 hang up: ok
        2s p1 release A: ok, p3 hears granted
        2s p2 ask: false
    "#]]);
}

#[test]
fn when_the_connection_of_the_head_breaks_those_behind_it_that_fit_are_served() {
    check(expect![[r#"
        A = 3
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 3 blocking 30s: waits
        0s p3 acquire A 1 blocking 30s: waits
        1s p2 hang up: ok, p3 hears granted
    "#]]);
}

#[test]
fn who_asks_again_in_time_stands_where_it_stood() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        0s p3 acquire A 1 blocking 30s: waits
        1s p2 hang up: ok
        10s p2 acquire A 1 blocking 30s: waits
        12s p1 release A: ok, p2 hears granted
    "#]]);
}

#[test]
fn who_asks_again_when_the_lock_is_free_has_it_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        1s p2 hang up: ok
        2s p1 release A: ok
        2s remainder A: 1
        3s p2 acquire A 1 blocking 30s: granted
    "#]]);
}

#[test]
fn who_does_not_ask_again_in_time_loses_its_place_but_not_its_other_locks() {
    check(expect![[r#"
        A = 1 level 1
        B = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire B 1: granted
        0s p2 acquire A 1: granted
        0s p2 acquire B 1 blocking 30s: waits
        1s p2 hang up: ok
        2s p3 acquire B 1: queued
        11s wait: ok, p2 waits no more
        11s p2 ask: true
        11s remainder A: 0
        12s p2 acquire B 1: queued
        13s p1 release B: ok, p3 is granted
    "#]]);
}

#[test]
fn a_waiter_with_another_open_request_is_not_parked() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 5s: waits
        0s p2 acquire A 1 blocking 30s: waits
        5s wait: ok, p2 hears queued
        6s p1 release A: ok, p2 hears granted
    "#]]);
}

#[test]
fn the_lease_of_a_waiter_whose_connection_broke_runs_again() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 3s: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        5s p2 hang up: ok
        7s p2 ask: false
        8s p2 ask: unknown_peer
    "#]]);
}

#[test]
fn a_waiter_that_is_removed_hears_it_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        1s p2 leave: true, p2 hears unknown_peer
        2s p1 release A: ok
        2s remainder A: 1
    "#]]);
}

#[test]
fn a_waiter_whose_pending_lock_is_cancelled_hears_it_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        1s p2 release A: ok, p2 hears cancelled
        1s p2 ask: true
    "#]]);
}
