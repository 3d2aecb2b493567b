//! S1 and S3 while a maximum changes.

use expect_test::expect;

use super::check;

#[test]
fn a_raised_maximum_serves_the_queue_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        0s p3 acquire A 1 block_for 30s: waits
        1s resize A 2: ok, p2 receives granted
        2s resize A 3: ok, p3 receives granted
    "#]]);
}

#[test]
fn a_lowered_maximum_revokes_nothing_and_grants_resume_when_the_count_held_fits_again() {
    check(expect![[r#"
        A = 3
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 2: granted
        0s p2 acquire A 1: granted
        1s resize A 1: ok
        1s remainder A: -2
        1s p3 acquire A 1 block_for 30s: waits
        2s p2 release A: ok
        3s p1 acquire A 2: granted
        4s p1 release A: ok, p3 receives granted
    "#]]);
}

#[test]
fn a_lowered_maximum_cancels_pending_locks_that_can_no_longer_be_granted() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p4 new_peer 1m: ok
        0s p1 acquire A 2: granted
        0s p2 acquire A 5 block_for 30s: waits
        0s p3 acquire A 1 block_for 30s: waits
        0s p4 acquire A 4: queued
        1s resize A 3: ok, p2 receives never_acquirable, p3 receives granted, p4 waits no more
        1s p2 acquire A 5: never_acquirable
        1s p4 is_acquired: true
    "#]]);
}
