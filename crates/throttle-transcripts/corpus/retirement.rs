//! D9: semaphores that are removed, or change their level, while peers hold or await them.

use expect_test::expect;

use super::check;

#[test]
fn a_removed_semaphore_stays_with_its_holders_and_is_gone_with_the_last_lock() {
    check(expect![[r#"
        A = 5
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 3: granted
        0s p2 acquire A 1: granted
        1s remove_semaphore A: retired
        1s p1 acquire A 3: granted
        2s p1 acquire A 2: granted
        2s remainder A: 2
        3s p1 release A: ok
        3s p1 acquire A 1: unknown_semaphore
        3s p2 acquire A 1: granted
        4s p2 release A: ok
        4s p2 release A: unknown_semaphore
        4s remainder A: unknown_semaphore
    "#]]);
}

#[test]
fn nobody_else_is_granted_a_retired_semaphore() {
    check(expect![[r#"
        A = 5 level 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        1s remove_semaphore A: retired
        1s p2 acquire A 1: unknown_semaphore
        1s p2 acquire A 1 expires_in 5m block_for 30s sequence 9: unknown_semaphore
        1s p2 acquire A 1 sequence 8: unknown_semaphore
        1s p2 acquire B 1 sequence 7: granted
        1s p3 restore 1m A=1: unknown_semaphore
        1s p1 restore 1m A=1: ok
        1s p2 release B: ok
        2s p1 acquire B 1: granted
        3s remove_semaphore A: retired
        4s resize A 9: unknown_semaphore
    "#]]);
}

#[test]
fn the_waiters_of_a_removed_semaphore_are_answered_at_once() {
    check(expect![[r#"
        A = 1
        B = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 5s: ok
        0s p3 new_peer 1m: ok
        0s p4 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        0s p3 acquire A 1: queued
        0s p4 acquire A 1 block_for 30s: waits
        1s p4 disconnect: ok
        9s remove_semaphore A: retired, p2 receives unknown_semaphore, p3 waits no more, p4 waits no more
        9s p3 is_acquired: true
        9s p4 acquire B 1: granted
        13s p2 is_acquired: true
        14s p2 is_acquired: unknown_peer
    "#]]);
}

#[test]
fn a_semaphore_with_nothing_but_waiters_is_gone_at_once() {
    check(expect![[r#"
        A = 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s suspend_grants: ok
        0s p1 acquire A 1: queued
        0s p2 acquire A 1 block_for 30s: waits
        1s remove_semaphore A: retired, p1 waits no more, p2 receives unknown_semaphore
        1s p1 is_acquired: true
        1s remainder A: unknown_semaphore
        1s configure A 1: ok
        2s remove_semaphore A: removed
    "#]]);
}

#[test]
fn a_retired_semaphore_is_gone_when_its_last_holder_expires_or_is_removed() {
    check(expect![[r#"
        A = 2
        B = 1
        0s p1 new_peer 10s: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1: granted
        1s remove_semaphore A: retired
        10s remainder A: 1, p1 is gone
        11s p2 remove_peer: true
        11s remainder A: unknown_semaphore
        11s remove_semaphore A: unknown_semaphore
    "#]]);
}

#[test]
fn a_retired_semaphore_that_is_configured_again_serves_everybody_again() {
    check(expect![[r#"
        A = 2
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 2: granted
        1s remove_semaphore A: retired
        1s p2 acquire A 1: unknown_semaphore
        2s configure A 1: ok
        2s p2 acquire A 1 block_for 30s: waits
        2s remainder A: -1
        3s p1 acquire A 1: granted
        4s p1 release A: ok, p2 receives granted
    "#]]);
}

#[test]
fn a_level_changes_when_the_semaphore_is_unused() {
    check(expect![[r#"
        A = 1 level 2
        B = 1 level 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        1s configure A 1 level 0: deferred
        1s p1 acquire B 1: granted
        1s p2 acquire A 1 block_for 30s: waits
        2s p1 release B: ok
        2s p1 release A: ok, p2 receives granted
        3s p2 acquire B 1: granted
        4s p2 release A: ok
        5s p2 acquire A 1: granted
        6s p1 acquire A 1 block_for 30s: waits
        7s configure A 1 level 5: deferred
        7s configure A 1 level 0: ok
        8s p2 release B: ok
    "#]]);
}

#[test]
fn a_level_changes_when_the_last_waiter_gives_up() {
    check(expect![[r#"
        A = 1 level 2
        B = 1 level 1
        0s p1 new_peer 1m: ok
        0s p2 new_peer 1m: ok
        0s p1 acquire A 1: granted
        0s p2 acquire A 1 block_for 30s: waits
        1s p2 disconnect: ok
        2s suspend_grants: ok
        2s p1 release A: ok
        3s configure A 1 level 0: deferred
        4s resume_grants: ok
        5s p1 acquire B 1: granted
        9s p1 acquire A 1: lock_hierarchy_violation
        11s p1 acquire A 1: granted, p2 waits no more
    "#]]);
}
