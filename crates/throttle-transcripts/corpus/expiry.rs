//! S8 expiry.

use expect_test::expect;

use super::check;

#[test]
fn at_its_deadline_a_peer_is_removed_with_all_its_locks() {
    check(expect![[r#"
        A = 1 level 1
        B = 1
        0s p1 new_peer 10s: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p1 acquire B 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        9s wait: ok
        10s wait: ok, p1 is gone, p2 receives granted
        10s remainder B: 1
        10s p1 heartbeat 10s: unknown_peer
    "#]]);
}

#[test]
fn a_heartbeat_renews_the_lease() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 10s: ok
        0s p1 acquire A 1: granted
        9s p1 heartbeat 10s: ok
        18s p1 is_acquired: true
        19s p1 is_acquired: unknown_peer
        19s remainder A: 1
    "#]]);
}

#[test]
fn a_heartbeat_can_shorten_a_lease() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p1 heartbeat 2s: ok
        3s wait: ok, p1 is gone, p2 receives granted
    "#]]);
}

#[test]
fn a_lease_of_zero_length_ends_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p1 heartbeat 0s: ok, p2 receives granted
        1s p1 is_acquired: unknown_peer
        2s p2 acquire A 1 expires_in 0s: granted
        2s remainder A: 1
        3s p3 new_peer 0s: ok
        3s p3 is_acquired: unknown_peer
    "#]]);
}

#[test]
fn an_acquire_renews_the_lease_only_if_it_names_a_length() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 10s: ok
        0s p2 new_peer 10s: ok
        5s p1 acquire A 1 expires_in 10s: granted
        5s p2 acquire A 1: queued
        10s wait: ok, p2 is gone
        15s wait: ok, p1 is gone
    "#]]);
}

#[test]
fn a_peer_does_not_expire_during_its_own_wait_and_the_answer_renews_its_lease() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 2s: ok
        0s p1 acquire A 1: granted
        1s p2 acquire A 1 block_for 10s: waits
        10s p2 is_acquired: false
        11s wait: ok, p2 receives queued
        12s p2 acquire A 1 block_for 10s: waits
        20s p1 release A: ok, p2 receives granted
        21s p2 is_acquired: true
        22s wait: ok, p2 is gone
        22s remainder A: 1
    "#]]);
}

#[test]
fn peers_that_expire_at_the_same_instant_are_not_granted_each_others_locks() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 10s: ok
        0s p2 new_peer 10s: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: queued
        0s p3 acquire A 1 block_for 30s: waits
        10s wait: ok, p1 is gone, p2 is gone, p3 receives granted
    "#]]);
}

#[test]
fn a_waiter_whose_lease_ends_is_never_granted() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 5s: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: queued
        5s wait: ok, p2 is gone
        6s p1 release A: ok
        6s remainder A: 1
    "#]]);
}

#[test]
fn an_answer_that_the_lock_is_still_pending_renews_the_lease() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 2s: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 5s: waits
        6s p2 is_acquired: false, p2 receives queued
        7s wait: ok, p2 is gone
        8s p1 release A: ok
        8s remainder A: 1
    "#]]);
}
