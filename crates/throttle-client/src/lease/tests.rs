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
    let mut lease = Lease::new(LEASE, None);
    let mut played = String::new();
    for line in transcript.data().trim().lines() {
        let command = line.split("->").next().unwrap_or_default().trim();
        let outcome = play(&mut lease, command);
        played += &format!("{command} -> {outcome}\n");
    }
    transcript.assert_eq(&played);
}

/// The same for a transcript that is made by a test.
#[track_caller]
fn check_lines(transcript: &str) {
    let mut lease = Lease::new(LEASE, None);
    for line in transcript.trim().lines() {
        let (command, expected) = line.split_once(" -> ").expect("an arrow");
        assert_eq!(play(&mut lease, command.trim()), expected, "{command}");
    }
}

fn play(lease: &mut Lease, command: &str) -> String {
    let words: Vec<_> = command.split_whitespace().collect();
    let (now, command) = words.split_first().expect("a line begins with an instant");
    let now = instant(now);
    let lost = match command {
        ["answered", "at", sent] => {
            lease.renewed(ANN, instant(sent), now, 0.0);
            None
        }
        ["restored", "at", sent] => {
            lease.restored(ANN, instant(sent), now, 0.0);
            None
        }
        ["inspected", "at", sent, held @ ..] => {
            let told = |pair: &[&str]| (pair[0].to_owned(), count(pair[1]));
            lease.inspected(ANN, instant(sent), now, &held.chunks(2).map(told).collect())
        }
        ["wants", "a", "sign"] => {
            lease.request_heartbeat(now);
            None
        }
        ["no", "answer"] => {
            lease.no_answer(ANN, now, 0.0);
            None
        }
        ["unknown", "peer"] => lease.unknown_peer(ANN, now, now, None),
        ["unknown", "peer", "up", uptime] => lease.unknown_peer(ANN, now, now, Some(span(uptime))),
        ["unknown", "peer", "at", sent, "up", uptime] => {
            lease.unknown_peer(ANN, instant(sent), now, Some(span(uptime)))
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
        others => {
            if !change(lease, others, now) {
                return "does not count".to_owned();
            }
            None
        }
    };
    match lost {
        Some(lost) => format!("lost: {lost}"),
        None => describe(lease.poll(now)),
    }
}

/// Changes what there is, and returns whether that counts.
fn change(lease: &mut Lease, command: &[&str], now: Time) -> bool {
    match command {
        ["opened", "at", sent] => lease.created(ANN, instant(sent), 0.0),
        ["resumed", "with", semaphore, number] => {
            lease.resumed(ANN, [(semaphore.to_string(), count(number))].into(), now);
        }
        ["acquired", semaphore, number] => {
            return lease.granted(ANN, semaphore, count(number), (now, now));
        }
        ["acquired", semaphore, number, "at", sent] => {
            return lease.granted(ANN, semaphore, count(number), (instant(sent), now));
        }
        ["shrunk", semaphore, number] => return lease.shrunk(ANN, semaphore, count(number), now),
        ["released", semaphore] => lease.released(ANN, semaphore),
        other => panic!("nobody knows how to {other:?}"),
    }
    true
}

fn count(text: &str) -> u64 {
    text.parse().expect("a count")
}

fn span(text: &str) -> Duration {
    humantime::parse_duration(text).expect("a duration")
}

fn instant(text: &str) -> Time {
    Time::at(span(text))
}

fn describe(step: Step) -> String {
    let span = humantime::format_duration;
    match step {
        Step::Heartbeat { timeout, .. } => format!("heartbeat, at most {}", span(timeout)),
        Step::Idle => "nobody".to_owned(),
        Step::Inspect { timeout, .. } => format!("inspect, at most {}", span(timeout)),
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
        10s acquired A 1 -> does not count
    "#]]);
}

#[test]
fn nothing_is_acquired_when_the_answer_took_as_long_as_the_lease() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        9449ms acquired A 1 -> heartbeat, at most 1ms
        9450ms acquired B 1 -> does not count
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
        3600ms restored at 3550ms -> wait until 6s 750ms
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
        5s restored at 5s -> wait until 8s 200ms
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
fn a_peer_that_lives_with_other_locks_than_told_asks_which_and_goes_on_if_it_has_all_its_own() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3300ms unknown peer up 1s -> restore {"A": 1}, at most 1s 600ms
        3400ms refused restore_conflict -> inspect, at most 1s 600ms
        3450ms answered at 3400ms -> inspect, at most 1s 600ms
        3450ms acquired B 1 -> does not count
        3500ms inspected at 3450ms A 1 B 1 -> heartbeat, at most 1s 600ms
        3600ms answered at 3500ms -> wait until 6s 700ms
        3600ms acquired B 1 -> wait until 6s 700ms
    "#]]);
}

#[test]
fn a_peer_that_lives_without_one_of_its_locks_has_lost_them() {
    for told in ["", " B 1", " A 1 B 1"] {
        check_lines(&format!(
            r#"
            0s opened at 0s -> wait until 3s 200ms
            0s acquired A 2 -> wait until 3s 200ms
            3300ms unknown peer up 1s -> restore {{"A": 2}}, at most 1s 600ms
            3400ms refused restore_conflict -> inspect, at most 1s 600ms
            3500ms inspected at 3450ms{told} -> lost: the server refused to keep it: restore_conflict
            "#
        ));
    }
}

#[test]
fn what_a_server_granted_before_it_forgot_does_not_count_after_the_restore() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        3300ms unknown peer up 1s -> restore {}, at most 1s 600ms
        3350ms acquired A 1 at 3340ms -> does not count
        3400ms restored at 3350ms -> wait until 6s 550ms
        3500ms acquired A 1 at 3200ms -> does not count
        3600ms acquired A 1 at 3550ms -> wait until 6s 550ms
    "#]]);
}

#[test]
fn only_a_restore_makes_up_for_that_the_server_forgot() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        3300ms unknown peer up 1s -> restore {"A": 1}, at most 1s 600ms
        3500ms answered at 3400ms -> restore {"A": 1}, at most 1s 600ms
        3500ms restored at 3200ms -> restore {"A": 1}, at most 1s 600ms
        3500ms restored at 3400ms -> wait until 6s 600ms
    "#]]);
}

#[test]
fn a_network_that_is_always_slow_is_waited_for_and_one_that_was_so_once_is_not() {
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
fn signs_of_life_may_be_shown_more_often_but_not_less() {
    let zero = Time::at(Duration::ZERO);
    for (interval, next) in [(100, 100), (60_000, 3_200)] {
        let mut lease = Lease::new(LEASE, Some(Duration::from_millis(interval)));
        lease.created(ANN, zero, 0.0);
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
        3500ms restored at 3400ms -> wait until 6s 600ms
        3900ms unknown peer at 3200ms up 2s -> heartbeat, at most 1s 600ms
        4s answered at 3900ms -> wait until 7s 100ms
    "#]]);
}

#[test]
fn chance_brings_a_sign_of_life_forward_by_up_to_a_quarter() {
    for (jitter, next) in [(0.0, 3_200), (0.5, 2_800), (1.0, 2_400)] {
        let mut lease = Lease::new(LEASE, None);
        let zero = Time::at(Duration::ZERO);
        lease.created(ANN, zero, jitter);
        assert_eq!(lease.poll(zero), Step::Wait(zero + Duration::from_millis(next)));
    }
}

#[test]
fn a_late_answer_does_not_make_a_restart_look_like_a_removal() {
    // The sign of life is sent at 3.2 s, and answered by a server that ends. The next one starts at 4 s; the
    // answer arrives at 5 s only.
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        5s answered at 3200ms -> wait until 6s 400ms
        6400ms unknown peer up 2400ms -> restore {"A": 1}, at most 1s 600ms
    "#]]);
}

#[test]
fn a_late_answer_does_not_make_a_removal_look_like_a_restart() {
    // The server started at -1 s. It said so at 4.5 s, and the answer arrives at 6 s: it might have started
    // at any time from -1 s to 0.5 s. Asked again, it leaves no doubt.
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 1 -> wait until 3s 200ms
        6s unknown peer at 4s up 5500ms -> heartbeat, at most 1s 600ms
        6010ms unknown peer at 6s up 7005ms -> lost: somebody removed the peer
    "#]]);
}

#[test]
fn who_is_left_in_doubt_twice_takes_the_server_for_one_that_forgot() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        6s unknown peer at 4s up 5500ms -> heartbeat, at most 1s 600ms
        8s unknown peer at 6s up 7s -> restore {}, at most 1s 450ms
    "#]]);
}

#[test]
fn a_peer_that_is_resumed_is_restored_first_and_not_certain_until_then() {
    check(expect![[r#"
        5s resumed with A 2 -> restore {"A": 2}, at most 1s 600ms
        5100ms unknown peer up 1h -> restore {"A": 2}, at most 1s 600ms
        5200ms restored at 5100ms -> wait until 8s 300ms
        9s unknown peer up 1h -> lost: somebody removed the peer
    "#]]);
    let mut lease = Lease::new(LEASE, None);
    let now = instant("5s");
    lease.resumed(ANN, [("A".to_owned(), 2)].into(), now);
    assert_eq!(lease.certain_until(), None);
    assert!(!lease.holds(ANN, "A"), "nobody here has asked for it");
    assert!(lease.restored(ANN, now, now, 0.0));
    assert!(lease.certain_until().is_some());
    assert!(lease.granted(ANN, "A", 2, (now, now)) && lease.holds(ANN, "A"));
}

#[test]
fn a_peer_without_signs_of_life_is_lost_when_its_lease_ends_unless_a_request_renews_it() {
    let mut lease = Lease::new(LEASE, None).without_heartbeats();
    let steps = [
        ("100ms opened at 0s", "wait until 9s 450ms"),
        ("5s answered at 4s", "wait until 13s 450ms"),
        ("6s wants a sign", "heartbeat, at most 1s 600ms"),
        ("6100ms answered at 6s", "wait until 15s 450ms"),
        ("7s unknown peer up 500ms", "restore {}, at most 1s 600ms"),
        ("7100ms restored at 7s", "wait until 16s 450ms"),
        ("16450ms then", "lost: the lease expired"),
    ];
    for (command, expected) in steps {
        assert_eq!(play(&mut lease, command), expected, "{command}");
    }
}

#[test]
fn a_lock_shrinks_also_while_the_server_does_not_know_the_peer() {
    check(expect![[r#"
        0s opened at 0s -> wait until 3s 200ms
        0s acquired A 3 -> wait until 3s 200ms
        1s shrunk B 1 -> does not count
        3300ms unknown peer up 1s -> restore {"A": 3}, at most 1s 600ms
        3300ms shrunk A 2 -> restore {"A": 2}, at most 1s 600ms
        9450ms shrunk A 1 -> does not count
    "#]]);
}
