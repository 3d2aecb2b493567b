//! S8 expiry.

use expect_test::expect;

use super::check;

#[test]
fn at_its_deadline_a_peer_is_gone_with_all_its_locks() {
    check(expect![[r#"
        A = 1 level 1
        B = 1
        0s p1 join 10s: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p1 acquire B 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        9s wait: ok
        10s wait: ok, p1 is gone, p2 hears granted
        10s remainder B: 1
        10s p1 heartbeat 10s: unknown_peer
    "#]]);
}

#[test]
fn a_heartbeat_lets_the_lease_begin_anew() {
    check(expect![[r#"
        A = 1
        0s p1 join 10s: ok
        0s p1 acquire A 1: granted
        9s p1 heartbeat 10s: ok
        18s p1 ask: true
        19s p1 ask: unknown_peer
        19s remainder A: 1
    "#]]);
}

#[test]
fn a_heartbeat_can_shorten_a_lease() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        1s p1 heartbeat 2s: ok
        3s wait: ok, p1 is gone, p2 hears granted
    "#]]);
}

#[test]
fn a_lease_of_no_time_ends_now() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 30s: waits
        1s p1 heartbeat 0s: ok, p2 hears granted
        1s p1 ask: unknown_peer
        2s p2 acquire A 1 lease 0s: granted
        2s remainder A: 1
        3s p3 join 0s: ok
        3s p3 ask: unknown_peer
    "#]]);
}

#[test]
fn an_acquire_renews_the_lease_if_it_says_so_and_not_otherwise() {
    check(expect![[r#"
        A = 1
        0s p1 join 10s: ok
        0s p2 join 10s: ok
        5s p1 acquire A 1 lease 10s: granted
        5s p2 acquire A 1: queued
        10s wait: ok, p2 is gone
        15s wait: ok, p1 is gone
    "#]]);
}

#[test]
fn a_peer_does_not_expire_inside_its_own_wait_and_its_lease_counts_from_the_answer() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 2s: ok
        0s p1 acquire A 1: granted
        1s p2 acquire A 1 blocking 10s: waits
        10s p2 ask: false
        11s wait: ok, p2 hears queued
        12s p2 acquire A 1 blocking 10s: waits
        20s p1 release A: ok, p2 hears granted
        21s p2 ask: true
        22s wait: ok, p2 is gone
        22s remainder A: 1
    "#]]);
}

#[test]
fn those_who_expire_at_the_same_instant_do_not_inherit_from_each_other() {
    check(expect![[r#"
        A = 1
        0s p1 join 10s: ok
        0s p2 join 10s: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: queued
        0s p3 acquire A 1 blocking 30s: waits
        10s wait: ok, p1 is gone, p2 is gone, p3 hears granted
    "#]]);
}

#[test]
fn a_waiter_whose_lease_ends_is_never_granted() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 5s: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: queued
        5s wait: ok, p2 is gone
        6s p1 release A: ok
        6s remainder A: 1
    "#]]);
}

#[test]
fn the_lease_of_a_waiter_that_was_answered_counts_from_the_answer() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 2s: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 blocking 5s: waits
        6s p2 ask: false, p2 hears queued
        7s wait: ok, p2 is gone
        8s p1 release A: ok
        8s remainder A: 1
    "#]]);
}
