//! S4, S9: requests that carry numbers, and arrive late.

use expect_test::expect;

use super::check;

#[test]
fn a_late_release_does_not_free_what_was_locked_again() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1 number 1: granted
        1s p1 release A number 2: ok
        2s p1 acquire A 1 number 3: granted
        2s p2 acquire A 1 blocking 30s: waits
        3s p1 release A number 2: stale_request
        3s remainder A: 0
        4s p1 release A number 4: ok, p2 hears granted
    "#]]);
}

#[test]
fn a_late_acquire_takes_nothing_and_does_not_queue() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p1 release A number 2: ok
        1s p1 acquire A 1 number 1: stale_request
        1s p1 acquire A 1 blocking 30s number 1: stale_request
        1s remainder A: 1
        1s p1 ask: true
    "#]]);
}

#[test]
fn a_late_acquire_does_not_shrink_what_was_locked_again() {
    check(expect![[r#"
        A = 5
        0s p1 join 1m: ok
        0s p1 acquire A 3 number 1: granted
        1s p1 acquire A 1 number 2: granted
        2s p1 release A number 3: ok
        3s p1 acquire A 3 number 4: granted
        4s p1 acquire A 1 number 2: stale_request
        4s remainder A: 2
    "#]]);
}

#[test]
fn a_late_request_is_no_sign_of_life() {
    check(expect![[r#"
        A = 1
        0s p1 join 10s: ok
        0s p1 release A number 2: ok
        9s p1 acquire A 1 lease 10s number 1: stale_request
        10s p1 ask: unknown_peer
    "#]]);
}

#[test]
fn the_same_number_again_is_a_repetition_and_gaps_mean_nothing() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p1 acquire A 1 number 7: granted
        1s p1 acquire A 1 number 7: granted
        2s p1 release A number 900: ok
        3s p1 release A number 900: ok
        3s remainder A: 1
    "#]]);
}

#[test]
fn who_waits_asks_again_with_a_greater_number_and_keeps_the_place() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p3 join 1m: ok
        0s p1 acquire A 1 number 1: granted
        0s p2 acquire A 1 blocking 30s number 5: waits
        1s p3 acquire A 1 blocking 30s number 1: waits
        2s p2 hang up: ok
        3s p2 acquire A 1 blocking 30s number 6: waits
        4s p2 acquire A 1 blocking 30s number 5: stale_request
        5s p1 release A number 2: ok, p2 hears granted
    "#]]);
}

#[test]
fn requests_without_a_number_are_served_as_they_come() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p1 acquire A 1 number 7: granted
        1s p1 release A: ok
        2s p1 acquire A 1: granted
        3s p1 release A number 6: stale_request
        3s remainder A: 0
    "#]]);
}

#[test]
fn the_numbers_of_peers_have_nothing_to_do_with_each_other() {
    check(expect![[r#"
        A = 2
        0s p1 join 1m: ok
        0s p2 join 1m: ok
        0s p1 acquire A 1 number 7: granted
        0s p2 acquire A 1 number 3: granted
    "#]]);
}

#[test]
fn what_was_refused_for_another_reason_counts_as_well() {
    check(expect![[r#"
        A = 1
        0s p1 join 1m: ok
        0s p1 acquire A 2 number 3: never_acquirable
        1s p1 acquire A 1 number 2: stale_request
        1s p1 acquire Z 1 number 1: unknown_semaphore
        1s p2 acquire A 1 number 1: unknown_peer
    "#]]);
}

#[test]
fn a_late_restore_does_not_bring_back_who_was_removed() {
    check(expect![[r#"
        A = 1
        0s p1 restore 1m A=1 number 2: ok
        1s p1 leave number 3: true
        2s p1 restore 1m A=1 number 1: stale_request
        2s remainder A: 1
        3s p1 leave number 3: false
    "#]]);
}

#[test]
fn a_removal_that_is_faster_than_the_restore_before_it_counts_all_the_same() {
    check(expect![[r#"
        A = 1
        0s p1 leave number 3: false
        1s p1 restore 1m A=1 number 2: stale_request
        1s p1 ask: unknown_peer
        2s p1 restore 1m A=1 number 4: ok
    "#]]);
}

/// The server was started again, and the client gives up the restore and then the lock.
#[test]
fn a_late_restore_does_not_take_what_was_released_when_nobody_knew_of_it() {
    check(expect![[r#"
        A = 1
        0s p1 release A number 7: unknown_peer
        1s p1 restore 1m A=1 number 6: stale_request
        2s p1 restore 1m number 8: ok
        2s remainder A: 1
    "#]]);
}

#[test]
fn a_removal_without_a_number_leaves_the_greatest_of_the_others_behind() {
    check(expect![[r#"
        A = 1
        0s p1 restore 1m A=1 number 2: ok
        1s p1 leave: true
        2s p1 restore 1m A=1 number 1: stale_request
        2s p1 restore 1m A=1 number 2: ok
    "#]]);
}

#[test]
fn a_restore_goes_on_with_the_numbers_that_the_server_forgot() {
    check(expect![[r#"
        A = 1
        0s p1 restore 1m A=1 number 5: ok
        1s p1 release A number 4: stale_request
        2s p1 release A number 6: ok
        3s p1 restore 1m A=1 number 5: stale_request
        3s p1 restore 1m number 7: ok
        3s remainder A: 1
    "#]]);
}

/// However a peer goes, what was sent before its latest request does not bring it back.
#[test]
fn a_late_restore_does_not_bring_back_who_expired_or_was_removed() {
    check(expect![[r#"
        A = 1
        0s p1 restore 10s A=1 number 1: ok
        1s p1 release A number 2: ok
        11s p1 ask: unknown_peer
        12s p1 restore 10s A=1 number 1: stale_request
        12s remainder A: 1
        13s p2 join 1m: ok
        13s p2 acquire A 1 number 5: granted
        14s p2 release A number 6: ok
        15s p2 leave: true
        16s p2 restore 1m A=1 number 5: stale_request
        17s p2 restore 1m A=1 number 7: ok
    "#]]);
}

/// Late requests are late by minutes, not by hours.
#[test]
fn numbers_of_peers_that_are_gone_are_remembered_for_ten_minutes() {
    check(expect![[r#"
        A = 1
        0s p1 restore 10s A=1 number 1: ok
        1s p1 release A number 2: ok
        610s p1 restore 10s A=1 number 1: stale_request
        612s p1 restore 10s A=1 number 1: ok
    "#]]);
}
