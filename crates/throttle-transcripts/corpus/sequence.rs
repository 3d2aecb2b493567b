//! S4, S9: requests with sequence numbers that arrive late.

use expect_test::expect;

use super::check;

#[test]
fn a_late_release_does_not_free_a_lock_that_was_acquired_again() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1 sequence 1: granted
        1s p1 release A sequence 2: ok
        2s p1 acquire A 1 sequence 3: granted
        2s p2 acquire A 1 block_for 30s: waits
        3s p1 release A sequence 2: stale_request
        3s remainder A: 0
        4s p1 release A sequence 4: ok, p2 receives granted
    "#]]);
}

#[test]
fn a_late_acquire_is_neither_granted_nor_queued() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p1 release A sequence 2: ok
        1s p1 acquire A 1 sequence 1: stale_request
        1s p1 acquire A 1 block_for 30s sequence 1: stale_request
        1s remainder A: 1
        1s p1 is_acquired: true
    "#]]);
}

#[test]
fn a_late_acquire_does_not_shrink_a_lock_that_was_acquired_again() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p1 acquire A 3 sequence 1: granted
        1s p1 acquire A 1 sequence 2: granted
        2s p1 release A sequence 3: ok
        3s p1 acquire A 3 sequence 4: granted
        4s p1 acquire A 1 sequence 2: stale_request
        4s remainder A: 2
    "#]]);
}

#[test]
fn a_late_request_does_not_renew_the_lease() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 10s: ok
        0s p1 release A sequence 2: ok
        9s p1 acquire A 1 expires_in 10s sequence 1: stale_request
        10s p1 is_acquired: unknown_peer
    "#]]);
}

#[test]
fn an_equal_number_is_a_repetition_and_gaps_are_allowed() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p1 acquire A 1 sequence 7: granted
        1s p1 acquire A 1 sequence 7: granted
        2s p1 release A sequence 900: ok
        3s p1 release A sequence 900: ok
        3s remainder A: 1
    "#]]);
}

#[test]
fn a_waiter_that_asks_again_with_a_higher_number_keeps_its_place() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p3 new_peer 1m: ok
        0s p1 acquire A 1 sequence 1: granted
        0s p2 acquire A 1 block_for 30s sequence 5: waits
        1s p3 acquire A 1 block_for 30s sequence 1: waits
        2s p2 disconnect: ok
        3s p2 acquire A 1 block_for 30s sequence 6: waits
        4s p2 acquire A 1 block_for 30s sequence 5: stale_request
        5s p1 release A sequence 2: ok, p2 receives granted
    "#]]);
}

#[test]
fn requests_without_a_number_are_never_stale() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p1 acquire A 1 sequence 7: granted
        1s p1 release A: ok
        2s p1 acquire A 1: granted
        3s p1 release A sequence 6: stale_request
        3s remainder A: 0
    "#]]);
}

#[test]
fn each_peer_has_numbers_of_its_own() {
    check(expect![[r#"
        A = 2
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1 sequence 7: granted
        0s p2 acquire A 1 sequence 3: granted
    "#]]);
}

#[test]
fn the_number_of_a_refused_request_counts_too() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p1 acquire A 2 sequence 3: never_acquirable
        1s p1 acquire A 1 sequence 2: stale_request
        1s p1 acquire Z 1 sequence 1: unknown_semaphore
        1s p2 acquire A 1 sequence 1: unknown_peer
    "#]]);
}

#[test]
fn a_late_restore_does_not_bring_back_a_removed_peer() {
    check(expect![[r#"
        A = 1
        0s p1 restore 1m A=1 sequence 2: ok
        1s p1 remove_peer sequence 3: true
        2s p1 restore 1m A=1 sequence 1: stale_request
        2s remainder A: 1
        3s p1 remove_peer sequence 3: false
    "#]]);
}

#[test]
fn a_removal_that_arrives_before_an_older_restore_wins() {
    check(expect![[r#"
        A = 1
        0s p1 remove_peer sequence 3: false
        1s p1 restore 1m A=1 sequence 2: stale_request
        1s p1 is_acquired: unknown_peer
        2s p1 restore 1m A=1 sequence 4: ok
    "#]]);
}

/// After a restart of the server the client gives up its restore, and then its lock.
#[test]
fn a_late_restore_does_not_take_a_lock_whose_release_found_no_peer() {
    check(expect![[r#"
        A = 1
        0s p1 release A sequence 7: unknown_peer
        1s p1 restore 1m A=1 sequence 6: stale_request
        2s p1 restore 1m sequence 8: ok
        2s remainder A: 1
    "#]]);
}

#[test]
fn a_removal_without_a_number_leaves_the_highest_number_behind() {
    check(expect![[r#"
        A = 1
        0s p1 restore 1m A=1 sequence 2: ok
        1s p1 remove_peer: true
        2s p1 restore 1m A=1 sequence 1: stale_request
        2s p1 restore 1m A=1 sequence 2: ok
    "#]]);
}

#[test]
fn a_restore_continues_with_numbers_that_the_server_has_forgotten() {
    check(expect![[r#"
        A = 1
        0s p1 restore 1m A=1 sequence 5: ok
        1s p1 release A sequence 4: stale_request
        2s p1 release A sequence 6: ok
        3s p1 restore 1m A=1 sequence 5: stale_request
        3s p1 restore 1m sequence 7: ok
        3s remainder A: 1
    "#]]);
}

/// A restore that is older than the peer's latest request fails, whether the peer expired or was removed.
#[test]
fn a_late_restore_does_not_bring_back_a_peer_that_expired_or_was_removed() {
    check(expect![[r#"
        A = 1
        0s p1 restore 10s A=1 sequence 1: ok
        1s p1 release A sequence 2: ok
        11s p1 is_acquired: unknown_peer
        12s p1 restore 10s A=1 sequence 1: stale_request
        12s remainder A: 1
        13s p2 new_peer 1m: ok
        13s p2 acquire A 1 sequence 5: granted
        14s p2 release A sequence 6: ok
        15s p2 remove_peer: true
        16s p2 restore 1m A=1 sequence 5: stale_request
        17s p2 restore 1m A=1 sequence 7: ok
    "#]]);
}

/// Late requests are late by minutes, not by hours.
#[test]
fn numbers_of_absent_peers_are_remembered_for_ten_minutes() {
    check(expect![[r#"
        A = 1
        0s p1 restore 10s A=1 sequence 1: ok
        1s p1 release A sequence 2: ok
        610s p1 restore 10s A=1 sequence 1: stale_request
        612s p1 restore 10s A=1 sequence 1: ok
    "#]]);
}
