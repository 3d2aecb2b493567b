//! Transcripts: what happens to a peer stands before each arrow, and what it makes of it behind.
//!
//! A lease is 9.6 s, so a sign of life is due after 3.2 s and everything is lost after 9.45 s.

use expect_test::{Expect, expect};

use super::*;

const LEASE: Duration = Duration::from_millis(9_600);
const ANN: PeerId = 42;

/// Plays what stands before each arrow, and compares all of it with what comes out.
#[track_caller]
fn check(transcript: Expect) {
    let mut lease = Lease::new(LEASE, None, true);
    let mut played = String::new();
    for line in transcript.data().trim().lines() {
        let command = line.split("->").next().unwrap_or_default().trim();
        let outcome = play(&mut lease, command);
        played += &format!("{command} -> {outcome}\n");
    }
    transcript.assert_eq(&played);
}

fn play(lease: &mut Lease, command: &str) -> String {
    let words: Vec<_> = command.split_whitespace().collect();
    let (now, command) = words.split_first().expect("a line begins with an instant");
    let now = instant(now);
    let lost = match command {
        ["opened", "at", sent] => {
            lease.opened(ANN, instant(sent), now, 0.0);
            None
        }
        ["adopted", "with", semaphore, count, "at", sent] => {
            let count = count.parse().expect("a count");
            lease.adopted(ANN, [(semaphore.to_string(), count)].into(), instant(sent));
            None
        }
        ["answered", "at", sent] => {
            lease.renewed(ANN, instant(sent), now, 0.0);
            None
        }
        ["acquired", semaphore, count] => {
            let count = count.parse().expect("a count");
            if !lease.acquired(ANN, semaphore, count, now) {
                return "too late".to_owned();
            }
            None
        }
        ["released", semaphore] => {
            lease.released(ANN, semaphore);
            None
        }
        ["no", "answer"] => {
            lease.no_answer(ANN, now, 0.0);
            None
        }
        ["unknown", "peer"] => lease.unknown_peer(ANN, now, now, None),
        ["unknown", "peer", "up", uptime] => {
            let uptime = humantime::parse_duration(uptime).expect("a duration");
            lease.unknown_peer(ANN, now, now, Some(uptime))
        }
        ["unknown", "peer", "at", sent, "up", uptime] => {
            let uptime = humantime::parse_duration(uptime).expect("a duration");
            lease.unknown_peer(ANN, instant(sent), now, Some(uptime))
        }
        ["refused", code] => {
            let code = serde_json::from_str(&format!("\"{code}\"")).expect("a code");
            lease.refused(ANN, now, code)
        }
        ["closed"] => {
            lease.close();
            None
        }
        ["then"] => None,
        other => panic!("nobody knows how to {other:?}"),
    };
    match lost {
        Some(lost) => format!("lost: {lost}"),
        None => describe(lease.poll(now)),
    }
}

fn instant(text: &str) -> Time {
    let zero = Time::at(Duration::ZERO);
    zero + humantime::parse_duration(text).expect("an instant is a duration since the start")
}

fn describe(step: Step) -> String {
    let span = humantime::format_duration;
    match step {
        Step::Heartbeat { timeout, .. } => format!("heartbeat, at most {}", span(timeout)),
        Step::Idle => "nobody".to_owned(),
        Step::Lost(lost) => format!("lost: {lost}"),
        Step::Restore { locks, timeout, .. } => {
            format!("restore {locks:?}, at most {}", span(timeout))
        }
        Step::Wait(time) => {
            format!("wait until {}", span(time.since(Time::at(Duration::ZERO))))
        }
    }
}

#[test]
fn a_sign_of_life_is_shown_after_a_third_of_the_lease() {
    check(expect![[r#"
        0s then -> nobody
        100ms opened at 0s -> wait until 3s 200ms
        3199ms then -> wait until 3s 200ms
        3200ms then -> heartbeat, at most 1s 600ms
        3300ms answered at 3200ms -> wait until 6s 400ms
        6400ms then -> heartbeat, at most 1s 600ms
        6500ms answered at 6400ms -> wait until 9s 600ms
    "#]]);
}

#[test]
fn the_lease_counts_from_when_the_request_was_sent_not_from_when_it_was_answered() {
    check(expect![[r#"
        3s opened at 0s -> wait until 3s 200ms
        3200ms then -> heartbeat, at most 1s 600ms
        9s answered at 3200ms -> heartbeat, at most 1s 600ms
        12649ms then -> heartbeat, at most 1ms
        12650ms then -> lost: the lease expired
    "#]]);
}

#[test]
fn an_answer_that_was_overtaken_shortens_nothing() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        4s answered at 3900ms -> wait until 7s 100ms
        5s answered at 3200ms -> wait until 7s 100ms
    "#]]);
}

#[test]
fn signs_of_life_that_get_lost_are_repeated_soon_until_everything_is_lost_with_the_lease() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3200ms then -> heartbeat, at most 1s 600ms
        6400ms no answer -> wait until 6s 550ms
        6550ms then -> heartbeat, at most 2s 900ms
        7s no answer -> wait until 7s 300ms
        7300ms then -> heartbeat, at most 2s 150ms
        8s no answer -> wait until 8s 600ms
        8600ms then -> heartbeat, at most 850ms
        9s no answer -> wait until 9s 450ms
        9450ms then -> lost: the server was unreachable until the lease ended
        9451ms then -> nobody
    "#]]);
}

#[test]
fn one_answer_makes_up_for_all_that_were_lost() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        4s no answer -> wait until 4s 150ms
        5s no answer -> wait until 5s 300ms
        6s answered at 5500ms -> wait until 8s 700ms
        8700ms then -> heartbeat, at most 1s 600ms
        9s no answer -> wait until 9s 150ms
    "#]]);
}

#[test]
fn a_machine_that_slept_through_the_lease_knows_it_when_it_wakes_up() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3600s then -> lost: the lease expired
        3600s then -> nobody
    "#]]);
}

#[test]
fn an_answer_that_comes_after_the_lease_brings_nothing_back() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        9450ms then -> lost: the lease expired
        10s answered at 9s -> nobody
        10s unknown peer -> nobody
        10s acquired A 1 -> too late
    "#]]);
}

#[test]
fn nothing_is_acquired_when_the_answer_took_as_long_as_the_lease() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        9449ms acquired A 1 -> heartbeat, at most 1ms
        9450ms acquired B 1 -> too late
    "#]]);
}

#[test]
fn a_server_that_was_started_again_is_told_what_the_peer_holds() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 3 -> wait until 3s 200ms
        1s acquired B 1 -> wait until 3s 200ms
        1s acquired C 1 -> wait until 3s 200ms
        2s released C -> wait until 3s 200ms
        3300ms unknown peer up 2s -> restore {"A": 3, "B": 1}, at most 1s 600ms
        3400ms no answer -> wait until 3s 550ms
        3550ms then -> restore {"A": 3, "B": 1}, at most 3s 200ms
        3600ms answered at 3550ms -> wait until 6s 750ms
        6700ms then -> wait until 6s 750ms
        6750ms then -> heartbeat, at most 1s 600ms
    "#]]);
}

#[test]
fn a_server_that_does_not_say_for_how_long_it_runs_is_told_as_well() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 3 -> wait until 3s 200ms
        3300ms unknown peer -> restore {"A": 3}, at most 1s 600ms
    "#]]);
}

#[test]
fn who_was_removed_does_not_come_back() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3300ms answered at 3200ms -> wait until 6s 400ms
        6500ms unknown peer up 1h -> lost: somebody removed the peer
    "#]]);
}

#[test]
fn a_server_that_started_after_it_was_last_heard_has_forgotten_and_one_that_started_before_has_not()
{
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        3s answered at 2s -> wait until 5s 200ms
        5s unknown peer up 2s -> restore {}, at most 1s 600ms
        5s answered at 5s -> wait until 8s 200ms
        7s unknown peer up 2001ms -> lost: somebody removed the peer
    "#]]);
}

#[test]
fn who_is_unknown_when_the_lease_is_over_has_expired() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        9450ms unknown peer up 1s -> lost: the lease expired
    "#]]);
}

#[test]
fn a_server_that_refuses_what_the_peer_holds_ends_it() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3300ms unknown peer up 1s -> restore {"A": 1}, at most 1s 600ms
        3400ms refused unknown_semaphore -> lost: the server refused to keep it: unknown_semaphore
    "#]]);
}

#[test]
fn a_peer_that_lives_with_other_locks_than_told_shows_another_sign_of_life() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3300ms unknown peer up 1s -> restore {"A": 1}, at most 1s 600ms
        3400ms refused restore_conflict -> heartbeat, at most 1s 600ms
        3500ms answered at 3400ms -> wait until 6s 600ms
    "#]]);
}

#[test]
fn a_way_that_is_always_slow_is_waited_for_and_one_that_was_so_once_is_not() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        3200ms then -> heartbeat, at most 1s 600ms
        4800ms no answer -> wait until 4s 950ms
        4950ms then -> heartbeat, at most 3s 200ms
        7s answered at 4950ms -> wait until 8s 150ms
        8150ms then -> heartbeat, at most 3s 200ms
        8200ms answered at 8150ms -> wait until 11s 350ms
        11350ms then -> heartbeat, at most 1s 600ms
    "#]]);
}

#[test]
fn a_peer_that_was_given_up_is_not_brought_back_by_an_answer_that_is_late() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3300ms closed -> nobody
        3400ms answered at 3200ms -> nobody
        3400ms unknown peer up 1s -> nobody
    "#]]);
}

#[test]
fn a_peer_that_was_there_before_shows_a_sign_of_life_at_once_and_is_restored_whatever_the_uptime() {
    check(expect![[r#"
        5s adopted with A 2 at 4s -> heartbeat, at most 1s 600ms
        5s unknown peer up 1h -> restore {"A": 2}, at most 1s 600ms
        5s answered at 5s -> wait until 8s 200ms
        9s unknown peer up 1h -> lost: somebody removed the peer
    "#]]);
}

#[test]
fn signs_of_life_may_be_shown_more_often_but_not_less() {
    let zero = Time::at(Duration::ZERO);
    for (interval, next) in [(100, 100), (60_000, 3_200)] {
        let mut lease = Lease::new(LEASE, Some(Duration::from_millis(interval)), true);
        lease.opened(ANN, zero, zero, 0.0);
        assert_eq!(lease.poll(zero), Step::Wait(zero + Duration::from_millis(next)));
    }
}

#[test]
fn answers_that_come_late_neither_end_a_peer_that_was_restored_nor_hide_that_it_was_forgotten() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3300ms unknown peer up 1s -> restore {"A": 1}, at most 1s 600ms
        3400ms answered at 3200ms -> restore {"A": 1}, at most 1s 600ms
        3500ms answered at 3400ms -> wait until 6s 600ms
        3900ms unknown peer at 3200ms up 2s -> heartbeat, at most 1s 600ms
        4s answered at 3900ms -> wait until 7s 100ms
    "#]]);
}

#[test]
fn chance_brings_a_sign_of_life_forward_by_up_to_a_quarter() {
    for (jitter, next) in [(0.0, 3_200), (0.5, 2_800), (1.0, 2_400)] {
        let mut lease = Lease::new(LEASE, None, true);
        let zero = Time::at(Duration::ZERO);
        lease.opened(ANN, zero, zero, jitter);
        assert_eq!(lease.poll(zero), Step::Wait(zero + Duration::from_millis(next)));
    }
}
