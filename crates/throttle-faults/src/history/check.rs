//! Checks that a history keeps the promises of Throttle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
};

use crate::client_kind::ClientKind;

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

/// The description of an event that breaks a promise, with its number, its worker and its semaphore.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation(String);

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
    /// Checks that there were never more holders than `maxima` allow, that no token was granted twice, and that
    /// the tokens of mutexes grow from entry to entry.
    ///
    /// If the maximum is greater than 1, a worker whose answer was lost may enter after one with a later token.
    ///
    /// # Errors
    ///
    /// The first event that breaks one of these rules.
    pub fn check(&self, maxima: &BTreeMap<&'static str, usize>) -> Result<Summary, Violation> {
        let mut summary = Summary::default();
        let mut states = BTreeMap::<&str, SemaphoreState<'_>>::new();
        for (number, event) in self.0.iter().enumerate() {
            let Event { worker, kind, semaphore, step } = event;
            let violation = |what: String| {
                Violation(format!("event {number}: {kind} {worker} at {semaphore:?}: {what}"))
            };
            let max = maxima.get(semaphore).copied().unwrap_or_default();
            let semaphore_state = states.entry(semaphore).or_default();
            match *step {
                Step::Request => {
                    semaphore_state.requesting.insert(*worker);
                }
                Step::GiveUp => {
                    semaphore_state.requesting.remove(worker);
                    summary.given_up += 1;
                }
                Step::Enter(token) => {
                    semaphore_state.requesting.remove(worker);
                    semaphore_state.enter(event, token, max).map_err(violation)?;
                    *summary.entries.entry((kind.to_string(), semaphore)).or_default() += 1;
                    summary.contended += usize::from(!semaphore_state.requesting.is_empty());
                    let is_other =
                        semaphore_state.last.replace(*kind).is_some_and(|last| last != *kind);
                    summary.handovers += usize::from(is_other);
                }
                Step::Leave => {
                    let inside = semaphore_state.inside.remove(worker);
                    inside.ok_or_else(|| violation("it leaves, but was not inside".to_owned()))?;
                }
            }
        }
        Ok(summary)
    }
}

/// The state of a semaphore after some of the events.
#[derive(Debug, Default)]
struct SemaphoreState<'a> {
    requesting: BTreeSet<usize>,
    inside: BTreeMap<usize, &'a Event>,
    tokens: BTreeSet<u64>,
    last: Option<ClientKind>,
}

impl<'a> SemaphoreState<'a> {
    fn enter(&mut self, event: &'a Event, token: u64, max: usize) -> Result<(), String> {
        if self.inside.len() >= max {
            let inside = self.inside.values().map(|it| format!("{} {}", it.kind, it.worker));
            let inside = inside.collect::<Vec<_>>().join(", ");
            return Err(format!("the maximum is {max}, and in are already: {inside}"));
        }
        if let Some(&newest) = self.tokens.last().filter(|&&newest| max == 1 && newest > token) {
            return Err(format!("its token {token} is not above {newest}"));
        }
        if !self.tokens.insert(token) {
            return Err(format!("its token {token} was given before"));
        }
        self.inside.insert(event.worker, event);
        Ok(())
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(max: usize, steps: &[(usize, Step)]) -> Result<Summary, String> {
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
        assert_eq!(
            message,
            "event 2: throttlectl 2 at \"A\": the maximum is 2, and in are already: Rust 0, throttlectl 1"
        );
        assert!(check(3, &steps).is_ok());
    }

    #[test]
    fn a_token_that_does_not_grow_is_found() {
        let steps = [(0, Enter(2)), (0, Leave), (1, Enter(1))];
        assert!(check(1, &steps).unwrap_err().contains("its token 1 is not above 2"));
        assert!(check(2, &steps).is_ok());
    }

    #[test]
    fn a_token_that_is_granted_twice_is_found() {
        let steps = [(0, Enter(1)), (1, Enter(1))];
        assert!(check(2, &steps).unwrap_err().contains("its token 1 was given before"));
    }

    #[test]
    fn a_worker_that_leaves_without_having_entered_is_found() {
        assert!(check(1, &[(0, Leave)]).unwrap_err().contains("was not inside"));
    }
}
