//! Transcripts: each line has what happens, an arrow, and the next step.
//!
//! A lease is 9.6 s, so a heartbeat is due after 3.2 s and the peer is lost after 9.45 s.

use expect_test::{Expect, expect};

use super::*;

const LEASE: Duration = Duration::from_millis(9_600);
const ANN: PeerId = 42;

/// Plays the part before each arrow, and compares the whole transcript with the outcome.
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

/// Does the same for a transcript that a test composes.
#[track_caller]
fn check_lines(transcript: &str) {
    let mut lease = Lease::new(LEASE, None);
    for line in transcript.trim().lines() {
        let (command, expected) = line.split_once(" -> ").expect("a line has an arrow");
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
            let lock = |pair: &[&str]| (pair[0].to_owned(), count(pair[1]));
            lease.inspected(ANN, instant(sent), now, &held.chunks(2).map(lock).collect())
        }
        ["heartbeat", "requested"] => {
            lease.request_heartbeat(now);
            None
        }
        ["no", "answer"] => {
            lease.no_answer(ANN, now, 0.0);
            None
        }
        ["unknown", "peer"] => lease.unknown_peer(ANN, now, now, None),
        ["unknown", "peer", "remembers", age] => lease.unknown_peer(ANN, now, now, Some(span(age))),
        ["unknown", "peer", "at", sent, "remembers", age] => {
            lease.unknown_peer(ANN, instant(sent), now, Some(span(age)))
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

/// Changes what the peer holds. Returns whether the change counts.
fn change(lease: &mut Lease, command: &[&str], now: Time) -> bool {
    match command {
        ["created", "at", sent] => lease.created(ANN, instant(sent), 0.0),
        ["resumed", "with", semaphore, number] => {
            lease.resumed(ANN, [(semaphore.to_string(), count(number))].into(), now);
        }
        ["granted", semaphore, number] => {
            return lease.granted(ANN, semaphore, count(number), (now, now));
        }
        ["granted", semaphore, number, "at", sent] => {
            return lease.granted(ANN, semaphore, count(number), (instant(sent), now));
        }
        ["shrunk", semaphore, number] => return lease.shrunk(ANN, semaphore, count(number), now),
        ["released", semaphore] => lease.released(ANN, semaphore),
        other => panic!("unknown command {other:?}"),
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
        Step::Idle => "no peer".to_owned(),
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
fn a_heartbeat_is_due_after_a_third_of_the_lease() {
    check(expect![[r#"
        0s then -> no peer
        100ms created at 0s -> wait until 3s 200ms
        3199ms then -> wait until 3s 200ms
        3200ms then -> heartbeat, at most 1s 600ms
        3300ms answered at 3200ms -> wait until 6s 400ms
        6400ms then -> heartbeat, at most 1s 600ms
        6500ms answered at 6400ms -> wait until 9s 600ms
    "#]]);
}

#[test]
fn the_lease_starts_when_the_request_was_sent_not_when_it_was_answered() {
    check(expect![[r#"
        3s created at 0s -> wait until 3s 200ms
        3200ms then -> heartbeat, at most 1s 600ms
        9s answered at 3200ms -> heartbeat, at most 1s 600ms
        12649ms then -> heartbeat, at most 1ms
        12650ms then -> lost: the lease expired
    "#]]);
}

#[test]
fn an_overtaken_answer_does_not_shorten_the_lease() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        4s answered at 3900ms -> wait until 7s 100ms
        5s answered at 3200ms -> wait until 7s 100ms
    "#]]);
}

#[test]
fn lost_heartbeats_are_repeated_soon_until_the_lease_ends() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3200ms then -> heartbeat, at most 1s 600ms
        6400ms no answer -> wait until 6s 550ms
        6550ms then -> heartbeat, at most 2s 900ms
        7s no answer -> wait until 7s 300ms
        7300ms then -> heartbeat, at most 2s 150ms
        8s no answer -> wait until 8s 600ms
        8600ms then -> heartbeat, at most 850ms
        9s no answer -> wait until 9s 450ms
        9450ms then -> lost: the server was unreachable until the lease ended
        9451ms then -> no peer
    "#]]);
}

#[test]
fn one_answer_makes_up_for_all_lost_ones() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        4s no answer -> wait until 4s 150ms
        5s no answer -> wait until 5s 300ms
        6s answered at 5500ms -> wait until 8s 700ms
        8700ms then -> heartbeat, at most 1s 600ms
        9s no answer -> wait until 9s 150ms
    "#]]);
}

#[test]
fn a_machine_suspended_beyond_the_lease_notices_the_loss_when_it_resumes() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3600s then -> lost: the lease expired
        3600s then -> no peer
    "#]]);
}

#[test]
fn an_answer_after_the_end_of_the_lease_does_not_restore_it() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        9450ms then -> lost: the lease expired
        10s answered at 9s -> no peer
        10s unknown peer -> no peer
        10s granted A 1 -> does not count
    "#]]);
}

#[test]
fn a_grant_does_not_count_if_the_answer_took_as_long_as_the_lease() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        9449ms granted A 1 -> heartbeat, at most 1ms
        9450ms granted B 1 -> does not count
    "#]]);
}

#[test]
fn the_peer_is_restored_at_a_restarted_server() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 3 -> wait until 3s 200ms
        1s granted B 1 -> wait until 3s 200ms
        1s granted C 1 -> wait until 3s 200ms
        2s released C -> wait until 3s 200ms
        3300ms unknown peer remembers 2s -> restore {"A": 3, "B": 1}, at most 1s 600ms
        3400ms no answer -> wait until 3s 550ms
        3550ms then -> restore {"A": 3, "B": 1}, at most 3s 200ms
        3600ms restored at 3550ms -> wait until 6s 750ms
        6700ms then -> wait until 6s 750ms
        6750ms then -> heartbeat, at most 1s 600ms
    "#]]);
}

#[test]
fn the_peer_is_restored_at_a_server_that_does_not_report_for_how_long_it_remembers() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 3 -> wait until 3s 200ms
        3300ms unknown peer -> restore {"A": 3}, at most 1s 600ms
    "#]]);
}

#[test]
fn a_removed_peer_is_not_restored() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3300ms answered at 3200ms -> wait until 6s 400ms
        6500ms unknown peer remembers 1h -> lost: somebody removed the peer
    "#]]);
}

#[test]
fn the_peer_is_restored_only_if_the_server_remembers_less_than_the_time_since_the_last_confirmation()
 {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        3s answered at 2s -> wait until 5s 200ms
        5s unknown peer remembers 2s -> restore {}, at most 1s 600ms
        5s restored at 5s -> wait until 8s 200ms
        7s unknown peer remembers 2001ms -> lost: somebody removed the peer
    "#]]);
}

/// D10. The server was restarted at 3 s, and its memory is as old as its store.
#[test]
fn a_peer_that_was_removed_before_a_restart_is_not_restored_at_a_server_that_remembers() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3300ms unknown peer remembers 30days -> lost: somebody removed the peer
        3300ms then -> no peer
    "#]]);
}

/// D10. The store is younger than the peer: it was replaced by a new one at 2 s.
#[test]
fn a_peer_that_is_older_than_the_memory_of_the_server_is_restored() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3200ms no answer -> wait until 3s 350ms
        3350ms unknown peer remembers 1350ms -> restore {"A": 1}, at most 3s 200ms
        3400ms restored at 3350ms -> wait until 6s 550ms
        6s unknown peer remembers 4s -> lost: somebody removed the peer
    "#]]);
}

/// The outage of a restart is not charged: the server gives every peer its full lease, the client does not count on it.
#[test]
fn a_peer_that_a_restarted_server_knows_continues_without_a_restore() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3200ms no answer -> wait until 3s 350ms
        3350ms no answer -> wait until 3s 650ms
        3700ms answered at 3650ms -> wait until 6s 850ms
        6850ms then -> heartbeat, at most 1s 600ms
    "#]]);
}

#[test]
fn a_peer_that_is_unknown_after_its_lease_has_expired() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        9450ms unknown peer remembers 1s -> lost: the lease expired
    "#]]);
}

#[test]
fn a_refused_restore_ends_the_peer() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3300ms unknown peer remembers 1s -> restore {"A": 1}, at most 1s 600ms
        3400ms refused unknown_semaphore -> lost: the server refused to keep it: unknown_semaphore
    "#]]);
}

#[test]
fn after_a_restore_conflict_the_peer_continues_if_the_server_has_all_its_locks() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3300ms unknown peer remembers 1s -> restore {"A": 1}, at most 1s 600ms
        3400ms refused restore_conflict -> inspect, at most 1s 600ms
        3450ms answered at 3400ms -> inspect, at most 1s 600ms
        3450ms granted B 1 -> does not count
        3500ms inspected at 3450ms A 1 B 1 -> heartbeat, at most 1s 600ms
        3600ms answered at 3500ms -> wait until 6s 700ms
        3600ms granted B 1 -> wait until 6s 700ms
    "#]]);
}

#[test]
fn after_a_restore_conflict_the_peer_is_lost_if_a_lock_is_missing_or_smaller() {
    for held in ["", " B 1", " A 1 B 1"] {
        check_lines(&format!(
            r#"
            0s created at 0s -> wait until 3s 200ms
            0s granted A 2 -> wait until 3s 200ms
            3300ms unknown peer remembers 1s -> restore {{"A": 2}}, at most 1s 600ms
            3400ms refused restore_conflict -> inspect, at most 1s 600ms
            3500ms inspected at 3450ms{held} -> lost: the server refused to keep it: restore_conflict
            "#
        ));
    }
}

#[test]
fn a_grant_sent_before_the_server_forgot_the_peer_does_not_count_after_the_restore() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        3300ms unknown peer remembers 1s -> restore {}, at most 1s 600ms
        3350ms granted A 1 at 3340ms -> does not count
        3400ms restored at 3350ms -> wait until 6s 550ms
        3500ms granted A 1 at 3200ms -> does not count
        3600ms granted A 1 at 3550ms -> wait until 6s 550ms
    "#]]);
}

#[test]
fn a_forgotten_peer_is_known_again_only_after_a_restore() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3300ms unknown peer remembers 1s -> restore {"A": 1}, at most 1s 600ms
        3500ms answered at 3400ms -> restore {"A": 1}, at most 1s 600ms
        3500ms restored at 3200ms -> restore {"A": 1}, at most 1s 600ms
        3500ms restored at 3400ms -> wait until 6s 600ms
    "#]]);
}

#[test]
fn timeouts_grow_while_the_network_is_slow_and_shrink_after_a_fast_answer() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
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
fn a_late_answer_does_not_revive_a_closed_peer() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3300ms closed -> no peer
        3400ms answered at 3200ms -> no peer
        3400ms unknown peer remembers 1s -> no peer
    "#]]);
}

#[test]
fn heartbeats_can_be_more_frequent_than_the_default_but_not_rarer() {
    let zero = Time::at(Duration::ZERO);
    for (interval, next) in [(100, 100), (60_000, 3_200)] {
        let mut lease = Lease::new(LEASE, Some(Duration::from_millis(interval)));
        lease.created(ANN, zero, 0.0);
        assert_eq!(lease.poll(zero), Step::Wait(zero + Duration::from_millis(next)));
    }
}

#[test]
fn late_answers_neither_end_a_restored_peer_nor_hide_that_it_was_forgotten() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        3300ms unknown peer remembers 1s -> restore {"A": 1}, at most 1s 600ms
        3400ms answered at 3200ms -> restore {"A": 1}, at most 1s 600ms
        3500ms restored at 3400ms -> wait until 6s 600ms
        3900ms unknown peer at 3200ms remembers 2s -> heartbeat, at most 1s 600ms
        4s answered at 3900ms -> wait until 7s 100ms
    "#]]);
}

#[test]
fn jitter_brings_a_heartbeat_forward_by_up_to_a_quarter() {
    for (jitter, next) in [(0.0, 3_200), (0.5, 2_800), (1.0, 2_400)] {
        let mut lease = Lease::new(LEASE, None);
        let zero = Time::at(Duration::ZERO);
        lease.created(ANN, zero, jitter);
        assert_eq!(lease.poll(zero), Step::Wait(zero + Duration::from_millis(next)));
    }
}

#[test]
fn a_late_answer_does_not_make_a_restart_look_like_a_removal() {
    // A server that is about to end answers the heartbeat of 3.2 s. The next server starts at 4 s; the answer
    // arrives only at 5 s.
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        5s answered at 3200ms -> wait until 6s 400ms
        6400ms unknown peer remembers 2400ms -> restore {"A": 1}, at most 1s 600ms
    "#]]);
}

#[test]
fn a_late_answer_does_not_make_a_removal_look_like_a_restart() {
    // The server started at -1 s. It reported its age at 4.5 s, and the answer arrives at 6 s: so it may
    // have started at any time from -1 s to 0.5 s. The second answer leaves no doubt.
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 1 -> wait until 3s 200ms
        6s unknown peer at 4s remembers 5500ms -> heartbeat, at most 1s 600ms
        6010ms unknown peer at 6s remembers 7005ms -> lost: somebody removed the peer
    "#]]);
}

#[test]
fn after_two_ambiguous_answers_the_peer_is_restored() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        6s unknown peer at 4s remembers 5500ms -> heartbeat, at most 1s 600ms
        8s unknown peer at 6s remembers 7s -> restore {}, at most 1s 450ms
    "#]]);
}

#[test]
fn a_resumed_peer_is_restored_first_and_not_certain_until_then() {
    check(expect![[r#"
        5s resumed with A 2 -> restore {"A": 2}, at most 1s 600ms
        5100ms unknown peer remembers 1h -> restore {"A": 2}, at most 1s 600ms
        5200ms restored at 5100ms -> wait until 8s 300ms
        9s unknown peer remembers 1h -> lost: somebody removed the peer
    "#]]);
    let mut lease = Lease::new(LEASE, None);
    let now = instant("5s");
    lease.resumed(ANN, [("A".to_owned(), 2)].into(), now);
    assert_eq!(lease.certain_until(), None);
    assert!(!lease.holds(ANN, "A"), "no request here has claimed it");
    assert!(lease.restored(ANN, now, now, 0.0));
    assert!(lease.certain_until().is_some());
    assert!(lease.granted(ANN, "A", 2, (now, now)) && lease.holds(ANN, "A"));
}

#[test]
fn a_peer_without_heartbeats_is_lost_with_its_lease_unless_a_request_renews_it() {
    let mut lease = Lease::new(LEASE, None).without_heartbeats();
    let steps = [
        ("100ms created at 0s", "wait until 9s 450ms"),
        ("5s answered at 4s", "wait until 13s 450ms"),
        ("6s heartbeat requested", "heartbeat, at most 1s 600ms"),
        ("6100ms answered at 6s", "wait until 15s 450ms"),
        ("7s unknown peer remembers 500ms", "restore {}, at most 1s 600ms"),
        ("7100ms restored at 7s", "wait until 16s 450ms"),
        ("16450ms then", "lost: the lease expired"),
    ];
    for (command, expected) in steps {
        assert_eq!(play(&mut lease, command), expected, "{command}");
    }
}

#[test]
fn a_lock_can_shrink_while_the_server_does_not_know_the_peer() {
    check(expect![[r#"
        0s created at 0s -> wait until 3s 200ms
        0s granted A 3 -> wait until 3s 200ms
        1s shrunk B 1 -> does not count
        3300ms unknown peer remembers 1s -> restore {"A": 3}, at most 1s 600ms
        3300ms shrunk A 2 -> restore {"A": 2}, at most 1s 600ms
        9450ms shrunk A 1 -> does not count
    "#]]);
}
