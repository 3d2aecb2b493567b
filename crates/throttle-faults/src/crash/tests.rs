//! Hand-written histories, at least one for each promise.

use std::time::Duration;

use super::*;
use crate::claims::{Moment, Rule};

const MUTEX: &str = "mutex";
const THREE: &str = "three";
const OUTER: &str = "outer";

const LEASE: Duration = Duration::from_secs(10);

/// A history. Each request takes a second.
struct Story {
    checker: Checker,
    second: u64,
}

impl Story {
    fn new() -> Self {
        let semaphores = [(MUTEX, 1, 0), (THREE, 3, 0), (OUTER, 3, 1)];
        let semaphores = semaphores.map(|(name, max, level)| Semaphore { name, max, level });
        Self { checker: Checker::new(&semaphores), second: 0 }
    }

    fn moment(&mut self) -> Moment {
        self.second += 1;
        Moment::default().after(Duration::from_secs(self.second))
    }

    fn send(&mut self, request: Request) -> RequestNumber {
        let at = self.moment();
        self.checker.sent(at, request)
    }

    fn answer(&mut self, number: RequestNumber, answer: &Answer) {
        let at = self.moment();
        self.checker.answered(at, number, answer);
    }

    fn ask(&mut self, request: Request, answer: Answer) -> &mut Self {
        let number = self.send(request);
        self.answer(number, &answer);
        self
    }

    /// A request whose connection breaks before the answer.
    fn ask_in_vain(&mut self, request: Request) -> &mut Self {
        let number = self.send(request);
        let at = self.moment();
        self.checker.unanswered(at, number);
        self
    }

    fn new_peer(&mut self, peer: u64) -> &mut Self {
        self.ask(Request::NewPeer { lease: LEASE }, Answer::Created { peer })
    }

    fn restart(&mut self) -> &mut Self {
        let (killed, started) = (self.moment(), self.moment());
        self.checker.killed(killed, true);
        self.checker.started(started);
        self
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.second += seconds;
        self
    }

    fn rules(&self) -> Vec<Rule> {
        self.checker.check().iter().map(|violation| violation.rule).collect()
    }
}

fn acquire(peer: u64, semaphore: &'static str, count: u64) -> Request {
    Request::Acquire { peer, semaphore, count, lease: None, block_for: None, sequence: None }
}

fn release(peer: u64, semaphore: &'static str) -> Request {
    Request::Release { peer, semaphore, sequence: None }
}

fn numbered_release(peer: u64, sequence: u64) -> Request {
    Request::Release { peer, semaphore: MUTEX, sequence: Some(sequence) }
}

fn held(count: u64, token: u64) -> Answer {
    Answer::Held { count, token: Some(token) }
}

fn pending(count: u64) -> Answer {
    Answer::Pending { count }
}

fn lock(semaphore: &str, count: u64, token: Option<u64>) -> Lock {
    Lock { semaphore: semaphore.to_owned(), count, token }
}

fn look(peer: u64) -> Request {
    Request::Inspect { peer }
}

fn holds(semaphore: &str, count: u64, token: u64) -> Answer {
    Answer::Peer { held: vec![lock(semaphore, count, Some(token))], pending: None }
}

fn awaits(semaphore: &str, count: u64) -> Answer {
    Answer::Peer { held: Vec::new(), pending: Some(lock(semaphore, count, None)) }
}

fn nothing() -> Answer {
    Answer::Peer { held: Vec::new(), pending: None }
}

fn unknown_peer() -> Answer {
    Answer::refused("unknown_peer")
}

/// Peer 1 holds the mutex, peer 2 waits for it, and the server is restarted.
fn restarted() -> Story {
    let mut story = Story::new();
    story.new_peer(1).new_peer(2);
    story.ask(acquire(1, MUTEX, 1), held(1, 7)).ask(acquire(2, MUTEX, 1), pending(1)).restart();
    story
}

#[test]
fn a_history_that_goes_on_after_a_restart_passes() {
    let mut story = restarted();
    story.ask(look(1), holds(MUTEX, 1, 7)).ask(look(2), awaits(MUTEX, 1));
    story.ask(acquire(1, MUTEX, 1), held(1, 7)).ask(release(1, MUTEX), Answer::Done);
    story.ask(acquire(2, MUTEX, 1), held(1, 8));
    story.ask(Request::Remove { peer: 2, sequence: None }, Answer::Removed { existed: true });
    story.ask(look(2), unknown_peer());
    assert_eq!(story.rules(), []);
    let coverage = story.checker.coverage();
    assert_eq!((coverage.locks_recovered, coverage.waiters_recovered), (1, 1));
    assert_eq!((coverage.granted_after_restart, coverage.kills), (1, 1));
}

/// D2
#[test]
fn an_acknowledged_lock_that_is_lost_is_found() {
    for answer in [nothing(), unknown_peer(), awaits(MUTEX, 1), holds(THREE, 1, 7)] {
        assert_eq!(restarted().ask(look(1), answer.clone()).rules(), [Rule::Memory], "{answer:?}");
    }
}

/// D2
#[test]
fn an_acknowledged_place_in_a_queue_that_is_lost_is_found() {
    for answer in [nothing(), unknown_peer(), awaits(THREE, 1), awaits(MUTEX, 2)] {
        assert_eq!(restarted().ask(look(2), answer.clone()).rules(), [Rule::Memory], "{answer:?}");
    }
}

/// S10
#[test]
fn a_lock_with_another_token_after_a_restart_is_found() {
    assert_eq!(restarted().ask(look(1), holds(MUTEX, 1, 8)).rules(), [Rule::Memory]);
    assert_eq!(restarted().ask(acquire(1, MUTEX, 1), held(1, 8)).rules(), [Rule::Memory]);
}

#[test]
fn a_request_without_an_answer_may_have_been_served_or_not() {
    for (answer, is_served) in [(nothing(), false), (holds(MUTEX, 1, 7), true)] {
        let mut story = Story::new();
        story.new_peer(1).ask_in_vain(acquire(1, MUTEX, 1)).restart().ask(look(1), answer);
        assert_eq!(story.rules(), []);
        let coverage = story.checker.coverage();
        assert_eq!(
            (coverage.served_unanswered, coverage.not_served),
            (usize::from(is_served), usize::from(!is_served))
        );
    }
    for answer in [nothing(), holds(MUTEX, 1, 7)] {
        let mut story = restarted();
        story.ask_in_vain(release(1, MUTEX)).restart().ask(look(1), answer);
        assert_eq!(story.rules(), []);
    }
}

/// D1: what one answer shows stays true, even if the request for it had no answer.
#[test]
fn what_was_shown_once_cannot_vanish() {
    for (first, second) in [(nothing(), holds(MUTEX, 1, 7)), (holds(MUTEX, 1, 7), nothing())] {
        let mut story = Story::new();
        story.new_peer(1).ask_in_vain(acquire(1, MUTEX, 1)).restart().ask(look(1), first);
        assert_eq!(story.restart().ask(look(1), second).rules(), [Rule::Memory]);
    }
}

#[test]
fn a_release_that_is_undone_is_found() {
    let mut story = restarted();
    story.ask(release(1, MUTEX), Answer::Done).restart().ask(look(1), holds(MUTEX, 1, 7));
    assert_eq!(story.rules(), [Rule::Memory]);
}

#[test]
fn a_removed_peer_that_comes_back_is_found() {
    let mut story = restarted();
    story.ask(Request::Remove { peer: 1, sequence: None }, Answer::Removed { existed: true });
    story.restart().ask(Request::Heartbeat { peer: 1, lease: LEASE }, Answer::Done);
    assert_eq!(story.rules(), [Rule::Memory]);
}

#[test]
fn a_shrunk_count_that_grows_again_is_found() {
    let mut story = Story::new();
    story.new_peer(1).ask(acquire(1, THREE, 3), held(3, 7)).ask(acquire(1, THREE, 2), held(2, 7));
    story.restart();
    assert_eq!(story.ask(look(1), holds(THREE, 2, 7)).rules(), []);
    assert_eq!(story.restart().ask(look(1), holds(THREE, 3, 7)).rules(), [Rule::Memory]);
}

#[test]
fn a_late_request_that_is_served_after_a_restart_is_found() {
    for (answer, rules) in [
        (Answer::refused("stale_request"), Vec::new()),
        (Answer::Done, vec![Rule::Memory]),
        (unknown_peer(), vec![Rule::Memory]),
    ] {
        let mut story = Story::new();
        story.new_peer(1).ask(numbered_release(1, 5), Answer::Done).restart();
        assert_eq!(story.ask(numbered_release(1, 4), answer).rules(), rules);
    }
}

#[test]
fn a_late_restore_that_brings_a_removed_peer_back_is_found() {
    let restore = |sequence| Request::Restore { peer: 1, lease: LEASE, sequence: Some(sequence) };
    for (answer, rules) in
        [(Answer::refused("stale_request"), Vec::new()), (Answer::Done, vec![Rule::Memory])]
    {
        let mut story = Story::new();
        let remove = Request::Remove { peer: 1, sequence: Some(5) };
        story.new_peer(1).ask(remove, Answer::Removed { existed: true }).restart();
        assert_eq!(story.ask(restore(4), answer).rules(), rules);
    }
}

#[test]
fn a_peer_expires_at_its_lease_end_and_not_before() {
    let mut story = Story::new();
    assert_eq!(story.new_peer(1).wait(10).ask(look(1), unknown_peer()).rules(), []);
    let mut story = Story::new();
    assert_eq!(story.new_peer(1).wait(5).ask(look(1), unknown_peer()).rules(), [Rule::Memory]);
}

/// D6
#[test]
fn a_restart_gives_a_peer_its_full_lease() {
    let mut story = Story::new();
    story.new_peer(1).restart().wait(7).ask(look(1), unknown_peer());
    assert_eq!(story.rules(), [Rule::Memory]);
    // It may have expired before the server was killed.
    let mut story = Story::new();
    story.new_peer(1).wait(9).restart().ask(look(1), unknown_peer());
    assert_eq!(story.rules(), []);
}

#[test]
fn a_newcomer_beside_a_holder_is_found() {
    let mut story = restarted();
    story.new_peer(3).ask(acquire(3, MUTEX, 1), held(1, 8));
    assert_eq!(story.rules(), [Rule::Exclusion, Rule::Tokens][..1]);
}

#[test]
fn the_next_holder_may_enter_once_the_release_was_sent_even_without_an_answer() {
    let mut story = restarted();
    story.ask_in_vain(release(1, MUTEX)).ask(acquire(2, MUTEX, 1), held(1, 8));
    assert_eq!(story.rules(), []);
    // But then the release was served.
    story.ask(look(1), holds(MUTEX, 1, 7));
    assert_eq!(story.rules(), [Rule::Exclusion]);
}

#[test]
fn the_next_holder_may_enter_once_the_lease_can_have_ended() {
    let mut story = restarted();
    let heartbeat = Request::Heartbeat { peer: 2, lease: LEASE };
    story.wait(5).ask(heartbeat, Answer::Done).wait(5).ask(acquire(2, MUTEX, 1), held(1, 8));
    assert_eq!(story.rules(), []);
}

#[test]
fn a_heartbeat_under_way_may_have_shortened_the_lease() {
    let mut story = restarted();
    let short = Request::Heartbeat { peer: 1, lease: Duration::from_secs(1) };
    let _under_way = story.send(short);
    story.ask(acquire(2, MUTEX, 1), held(1, 8));
    assert_eq!(story.rules(), []);
}

#[test]
fn a_heartbeat_that_is_still_under_way_at_a_restart_may_have_shortened_the_lease() {
    let mut story = restarted();
    let _under_way = story.send(Request::Heartbeat { peer: 1, lease: Duration::from_secs(1) });
    story.restart().ask(acquire(2, MUTEX, 1), held(1, 8));
    assert_eq!(story.rules(), []);
}

#[test]
fn the_next_holder_may_enter_once_the_removal_was_sent() {
    let mut story = restarted();
    let _under_way = story.send(Request::Remove { peer: 1, sequence: None });
    story.ask(acquire(2, MUTEX, 1), held(1, 8));
    assert_eq!(story.rules(), []);
}

#[test]
fn a_release_that_was_refused_ends_nothing() {
    let mut story = restarted();
    // Whether the next release is stale depends on whether this one is served.
    let other = Request::Release { peer: 1, semaphore: THREE, sequence: Some(5) };
    story.ask_in_vain(other).ask(numbered_release(1, 4), Answer::refused("stale_request"));
    story.new_peer(3).ask(acquire(3, MUTEX, 1), held(1, 8));
    assert_eq!(story.rules(), [Rule::Exclusion]);
}

/// D7
#[test]
fn a_waiter_that_is_overtaken_after_a_restart_is_found() {
    let mut story = restarted();
    story.new_peer(3).ask(acquire(3, MUTEX, 1), pending(1)).ask(release(1, MUTEX), Answer::Done);
    story.ask(acquire(3, MUTEX, 1), held(1, 8)).ask(look(2), awaits(MUTEX, 1));
    assert_eq!(story.rules(), [Rule::Order]);
}

/// S10
#[test]
fn tokens_that_start_from_the_beginning_after_a_restart_are_found() {
    let mut story = restarted();
    story.ask(release(1, MUTEX), Answer::Done).ask(acquire(2, MUTEX, 1), held(1, 1));
    assert_eq!(story.rules(), [Rule::Tokens, Rule::Order]);
}

#[test]
fn the_rules_of_levels_and_counts_are_known() {
    let mut story = Story::new();
    story.new_peer(1).ask(acquire(1, OUTER, 1), held(1, 1)).ask(acquire(1, MUTEX, 1), held(1, 2));
    story.ask(acquire(1, THREE, 1), Answer::refused("lock_hierarchy_violation"));
    story.ask(acquire(1, OUTER, 2), Answer::refused("lock_hierarchy_violation"));
    story.ask(acquire(1, MUTEX, 2), Answer::refused("never_acquirable"));
    let both = vec![lock(OUTER, 1, Some(1)), lock(MUTEX, 1, Some(2))];
    story.ask(look(1), Answer::Peer { held: both, pending: None });
    assert_eq!(story.rules(), []);
}

#[test]
fn a_run_that_exercised_too_little_is_an_error() {
    let message = Coverage::default().suffices(false).unwrap_err().to_string();
    assert!(message.starts_with("too little happened to prove anything: 0 kills"), "{message}");
    let many = 1_000;
    let full = Coverage {
        answers: many,
        unanswered: many,
        served_unanswered: many,
        not_served: many,
        kills: 10,
        kills_with_requests: 10,
        kills_while_starting: 10,
        kills_of_first_starts: 10,
        kills_within_commit: 10,
        kills_before_commit: 10,
        locks_recovered: many,
        waiters_recovered: many,
        granted_after_restart: many,
        stale_refused: many,
        entries: 0,
    };
    full.suffices(false).unwrap();
    let message = full.suffices(true).unwrap_err().to_string();
    assert!(message.contains("0 entries of other clients"), "{message}");
}
