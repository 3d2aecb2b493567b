//! Checks that a history keeps the promises of Throttle.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    claims::{self, Claim, Maxima, Moment, Violation},
    client_kind::ClientKind,
};

/// A step of a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The number of the worker.
    pub worker: usize,
    /// The client kind of the worker.
    pub kind: ClientKind,
    /// The semaphore that it locks.
    pub semaphore: &'static str,
    /// What the worker did.
    pub step: Step,
}

/// What a worker does with a lock. Its count is 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// It requests the lock.
    Request,
    /// It holds the lock, with this fencing token.
    Enter(u64),
    /// It is about to release the lock.
    Leave,
    /// The lock was not granted in time.
    GiveUp,
}

/// All events, in the order in which they happened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History(pub Vec<Event>);

/// Counts of what happened in a history. If too little happened, it proves nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// The number of entries, by client kind and semaphore.
    pub entries: BTreeMap<(String, &'static str), usize>,
    /// How many entries happened while another worker waited for the same semaphore.
    pub contended: usize,
    /// How many requests were not granted in time.
    pub given_up: usize,
    /// How many entries followed an entry of another client kind.
    pub handovers: usize,
}

impl History {
    /// Checks that the [claims] of all workers can be true.
    ///
    /// A claim begins with the entry of the worker and ends before the worker is told to leave. Its request was
    /// sent after the worker left the last time.
    ///
    /// # Errors
    ///
    /// The first contradiction.
    ///
    /// # Panics
    ///
    /// If a worker leaves without having entered.
    pub fn check(&self, maxima: &Maxima) -> Result<Summary, Violation> {
        let mut summary = Summary::default();
        let mut claims = Vec::new();
        let mut requesting = BTreeMap::<_, BTreeSet<_>>::new();
        let (mut inside, mut left, mut last) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (at, Event { worker, kind, semaphore, step }) in (1..).map(Moment).zip(&self.0) {
            let requesting = requesting.entry(semaphore).or_default();
            match *step {
                Step::Request => {
                    requesting.insert(*worker);
                }
                Step::GiveUp => {
                    requesting.remove(worker);
                    summary.given_up += 1;
                }
                Step::Enter(token) => {
                    requesting.remove(worker);
                    let requested = left.get(worker).copied().unwrap_or_default();
                    let mut claim = Claim::new(format!("{kind} {worker}"), semaphore, 1, requested);
                    claim.token = Some(token);
                    claim.shown_held(at, at, 1);
                    inside.insert(*worker, claims.len());
                    claims.push(claim);
                    *summary.entries.entry((kind.to_string(), semaphore)).or_default() += 1;
                    summary.contended += usize::from(!requesting.is_empty());
                    let is_other = last.insert(semaphore, *kind).is_some_and(|last| last != *kind);
                    summary.handovers += usize::from(is_other);
                }
                Step::Leave => {
                    let claim = inside.remove(worker).expect("a worker leaves what it has entered");
                    claims[claim].may_be_cut(0, at, 0);
                    left.insert(*worker, at);
                }
            }
        }
        claims::check(&claims, maxima)?;
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(max: u64, steps: &[(usize, Step)]) -> Result<Summary, String> {
        let events = steps.iter().map(|&(worker, step)| {
            let kind = if worker == 0 { ClientKind::Rust } else { ClientKind::Throttlectl };
            Event { worker, kind, semaphore: "A", step }
        });
        let maxima = BTreeMap::from([("A", max)]);
        History(events.collect()).check(&maxima).map_err(|violation| violation.to_string())
    }

    use Step::{Enter, Leave, Request};

    #[test]
    fn a_history_with_one_holder_at_a_time_passes() {
        let steps =
            [(0, Enter(1)), (1, Request), (0, Leave), (0, Request), (1, Enter(2)), (1, Leave)];
        let summary = check(1, &steps).unwrap();
        assert_eq!((summary.contended, summary.handovers), (1, 1));
        assert_eq!(summary.entries.values().sum::<usize>(), 2);
    }

    #[test]
    fn one_holder_more_than_the_maximum_is_found() {
        let steps = [(0, Enter(1)), (1, Enter(2)), (2, Enter(3))];
        let message = check(2, &steps).unwrap_err();
        assert!(message.contains("3 of 2 of \"A\" are held, by Rust 0"), "{message}");
        assert!(check(3, &steps).is_ok());
    }

    #[test]
    fn a_token_that_does_not_grow_is_found() {
        let steps = [(0, Enter(2)), (0, Leave), (1, Enter(1))];
        let message = check(1, &steps).unwrap_err();
        assert!(message.contains("with a greater token"), "{message}");
        // The second worker may have been granted its lock first.
        assert!(check(2, &steps).is_ok());
    }

    #[test]
    fn a_token_that_is_granted_twice_is_found() {
        let steps = [(0, Enter(1)), (1, Enter(1))];
        assert!(check(2, &steps).unwrap_err().contains("the same token for"));
    }
}
