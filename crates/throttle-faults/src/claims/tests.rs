//! Claims that can be true together, and claims that cannot.

use std::collections::BTreeMap;

use super::*;

/// A claim of a lock that was requested, shown held, and perhaps given up at these moments.
fn held(who: &str, requested: u64, held_by: u64, end: Option<u64>, token: u64) -> Claim {
    let mut claim = Claim::new(who.to_owned(), "A", 1, Moment(requested));
    claim.token = Some(token);
    claim.shown_held(Moment(requested), Moment(held_by), 1);
    if let Some(end) = end {
        claim.may_be_cut(0, Moment(end), 0);
    }
    claim
}

fn rules(max: u64, claims: &[Claim]) -> Vec<Rule> {
    violations(claims, &BTreeMap::from([("A", max)])).iter().map(|it| it.rule).collect()
}

#[test]
fn a_lock_ends_when_its_release_is_sent() {
    let next = held("next", 5, 12, None, 2);
    assert_eq!(rules(1, &[held("first", 0, 1, Some(12), 1), next.clone()]), []);
    assert_eq!(rules(1, &[held("first", 0, 1, Some(13), 1), next]), [Rule::Exclusion]);
}

#[test]
fn a_lock_ends_when_its_lease_can_have_ended() {
    let mut first = held("first", 0, 1, None, 1);
    first.lease_end = Moment(12);
    let next = held("next", 5, 12, None, 2);
    assert_eq!(rules(1, &[first.clone(), next.clone()]), []);
    // The server showed it after that, so it did not end.
    first.shown_held(Moment(13), Moment(14), 1);
    assert_eq!(rules(1, &[first, next]), [Rule::Exclusion]);
}

#[test]
fn a_release_that_was_not_served_ends_nothing() {
    let mut first = held("first", 0, 1, Some(5), 1);
    first.shown_held(Moment(7), Moment(8), 1);
    let next = held("next", 5, 9, None, 2);
    assert_eq!(rules(1, &[first.clone(), next.clone()]), [Rule::Exclusion]);
    let mut refused = held("first", 0, 1, Some(5), 1);
    refused.is_not_cut(0);
    assert_eq!(rules(1, &[refused, next]), [Rule::Exclusion]);
}

#[test]
fn counts_are_added_up_and_lowered() {
    let mut large = held("large", 0, 1, None, 1);
    large.count = 3;
    large.may_be_cut(7, Moment(5), 2);
    let others = [held("second", 2, 6, None, 2), held("third", 3, 7, None, 3)];
    assert_eq!(rules(4, &[vec![large.clone()], others.to_vec()].concat()), []);
    assert_eq!(rules(3, &[vec![large], others.to_vec()].concat()), [Rule::Exclusion]);
}

#[test]
fn a_lock_that_was_given_up_before_its_answer_counts_for_nothing() {
    let first = held("first", 0, 6, Some(3), 1);
    assert_eq!(rules(1, &[first, held("next", 4, 5, None, 2)]), []);
}

#[test]
fn no_token_is_granted_twice() {
    let claims = [held("first", 0, 3, Some(4), 7), held("second", 1, 5, None, 7)];
    assert_eq!(rules(2, &claims), [Rule::Tokens]);
}

#[test]
fn a_later_grant_has_a_greater_token() {
    // The second was requested after the first was shown.
    let claims = [held("first", 0, 2, Some(3), 8), held("second", 3, 5, None, 7)];
    assert_eq!(rules(2, &claims), [Rule::Tokens, Rule::Order]);
    // Both were requested before any was shown: the second may have been granted first.
    let claims = [held("first", 0, 2, Some(3), 8), held("second", 1, 5, None, 7)];
    assert_eq!(rules(2, &claims), []);
    // If the maximum is one, it cannot.
    assert_eq!(rules(1, &claims), [Rule::Tokens]);
}

#[test]
fn what_happens_at_the_same_moment_has_no_order() {
    let claims = [held("first", 0, 3, Some(4), 8), held("second", 3, 5, None, 7)];
    assert_eq!(rules(2, &claims), []);
}

#[test]
fn a_lock_that_was_pending_later_is_granted_later() {
    let mut second = held("second", 1, 9, None, 7);
    second.shown_pending(Moment(4), Moment(5));
    assert_eq!(rules(2, &[held("first", 0, 3, Some(4), 8), second]), [Rule::Tokens]);
}

#[test]
fn a_waiter_is_not_overtaken() {
    let mut waiter = Claim::new("waiter".to_owned(), "A", 1, Moment(0));
    waiter.shown_pending(Moment(0), Moment(1));
    // Requested later, granted earlier: the waiter is still pending afterwards.
    let overtaker = held("overtaker", 2, 3, Some(8), 1);
    assert_eq!(rules(1, &[waiter.clone(), overtaker.clone()]), []);
    waiter.shown_pending(Moment(4), Moment(5));
    assert_eq!(rules(1, &[waiter.clone(), overtaker.clone()]), [Rule::Order]);
    // Who requested at the same time may have come first.
    let rival = held("rival", 1, 3, Some(8), 1);
    assert_eq!(rules(1, &[waiter.clone(), rival]), []);
    // Tokens tell the order of two grants.
    let mut served = waiter;
    served.token = Some(2);
    served.still_pending = Some(Moment(0));
    served.shown_held(Moment(8), Moment(9), 1);
    assert_eq!(rules(1, &[served, overtaker]), [Rule::Order]);
}

#[test]
fn semaphores_are_independent() {
    let mut other = held("other", 0, 1, None, 1);
    other.semaphore = "B";
    let maxima = BTreeMap::from([("A", 1), ("B", 1)]);
    assert_eq!(violations(&[held("first", 0, 1, None, 1), other], &maxima), []);
}
