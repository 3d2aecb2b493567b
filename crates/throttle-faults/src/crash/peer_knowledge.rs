//! What is known about one peer: the states in which it may be, narrowed by each answer.
//!
//! A request that was answered leaves the states that explain the answer. A request without an answer was served
//! or not, so both kinds of states remain until a later answer tells them apart. If no state explains an answer,
//! the server has lost or invented something.

use std::collections::VecDeque;

use super::{
    event::Answer,
    peer_state::{Living, OwnLock, PeerState, Sent},
};
use crate::claims::{Claim, Moment};

/// The possible states of a peer.
#[derive(Debug)]
pub(super) struct PeerKnowledge {
    states: Vec<Possible>,
    /// The last requests with their answers, for messages.
    recent: VecDeque<String>,
}

/// A possible state.
#[derive(Clone, Debug)]
struct Possible {
    state: PeerState,
    /// Whether the latest request without an answer was served; `None` if this makes no difference.
    was_served: Option<bool>,
}

/// What an answer told about an earlier request without an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resolved {
    /// It had been served.
    Served,
    /// It had not been served.
    NotServed,
}

impl PeerKnowledge {
    /// A peer that was just created.
    pub(super) fn new(state: PeerState) -> Self {
        Self { states: vec![Possible { state, was_served: None }], recent: VecDeque::new() }
    }

    /// Keeps the states that explain `answer`.
    ///
    /// # Errors
    ///
    /// No state does. The message says which answers were expected.
    pub(super) fn answered(
        &mut self,
        sent: Sent<'_>,
        received: Moment,
        answer: &Answer,
    ) -> Result<Option<Resolved>, String> {
        let mut next = Vec::new();
        let mut expected = Vec::new();
        for (before, was_served) in self.later(received) {
            for (candidate, after) in before.serve(sent) {
                if let Some(state) = after.explain(&candidate, answer) {
                    next.push(Possible { state, was_served });
                } else {
                    expected.push(candidate);
                }
            }
        }
        if next.is_empty() {
            expected.dedup();
            let recent = self.recent.iter().map(|line| format!("\n    {line}")).collect::<String>();
            return Err(format!(
                "{:?}, sent {}, is answered {answer:?} at {received}\n  expected: {expected:?}\n  \
                 states: {:?}\n  requests before:{recent}",
                sent.request, sent.at, self.states
            ));
        }
        self.remember(format!("{} {received} {:?}: {answer:?}", sent.at, sent.request));
        self.states = without_duplicates(next);
        Ok(self.resolve())
    }

    /// Adds the states in which the request was served. `at` is when the connection broke.
    pub(super) fn unanswered(&mut self, sent: Sent<'_>, at: Moment) {
        let not_served = self.states.iter().map(|it| it.state.clone());
        let mut next =
            not_served.map(|state| Possible { state, was_served: Some(false) }).collect::<Vec<_>>();
        for (before, _) in self.later(at) {
            let served = before.serve(sent).into_iter();
            next.extend(served.map(|(_, state)| Possible { state, was_served: Some(true) }));
        }
        self.remember(format!("{} {at} {:?}: no answer", sent.at, sent.request));
        self.states = without_duplicates(next);
    }

    /// After a restart, a peer that was alive at the end of the process before has its full lease.
    pub(super) fn restarted(&mut self, killed: Moment, started: Moment) {
        for possible in &mut self.states {
            if let PeerState::Living(living) = &mut possible.state
                && killed < living.lease_end
            {
                living.lease_end = living.lease_end.max(started.after(living.lease));
            }
        }
        self.remember(format!("{killed} killed, {started} started"));
    }

    /// Whether a request with this number is stale in every state.
    pub(super) fn is_stale(&self, sequence: Option<u64>) -> bool {
        sequence.is_some_and(|sequence| {
            self.states.iter().all(|it| match &it.state {
                PeerState::Absent { sequence: latest } => sequence < *latest,
                PeerState::Living(living) => sequence < living.sequence,
            })
        })
    }

    /// The locks that it may have, held or pending.
    pub(super) fn possible_locks(&self) -> impl Iterator<Item = &OwnLock> {
        self.living().flat_map(Living::locks)
    }

    /// Adds to the claims of the peer what is certain now, after an answer to a request sent at `sent`.
    pub(super) fn tell(&self, claims: &mut [Claim], sent: Moment, received: Moment) {
        self.tell_lease_end(claims);
        let Some(PeerState::Living(first)) = self.states.first().map(|it| &it.state) else {
            return;
        };
        let in_all = |test: &dyn Fn(&Living) -> bool| {
            self.living().count() == self.states.len() && self.living().all(test)
        };
        for lock in &first.held {
            let same = |it: &OwnLock| it.claim == lock.claim && it.token == lock.token;
            if in_all(&|living| living.held.iter().any(same)) {
                let claim = &mut claims[lock.claim];
                let counts = self.living().flat_map(|it| &it.held).filter(|it| same(it));
                let count = counts.map(|it| it.count).min().unwrap_or(lock.count);
                claim.token = claim.token.or(lock.token);
                claim.shown_held(sent, received, count);
            }
        }
        if let Some(lock) = first.pending
            && in_all(&|living| living.pending.is_some_and(|it| it.claim == lock.claim))
        {
            claims[lock.claim].shown_pending(sent, received);
        }
    }

    /// Sets the earliest end of its claims.
    pub(super) fn tell_lease_end(&self, claims: &mut [Claim]) {
        for lock in self.possible_locks() {
            claims[lock.claim].lease_end = Moment(u64::MAX);
        }
        for living in self.living() {
            for lock in living.locks() {
                let claim = &mut claims[lock.claim];
                claim.lease_end = claim.lease_end.min(living.lease_end);
            }
        }
    }

    fn living(&self) -> impl Iterator<Item = &Living> {
        self.states.iter().filter_map(|it| match &it.state {
            PeerState::Living(living) => Some(living),
            PeerState::Absent { .. } => None,
        })
    }

    fn later(&self, at: Moment) -> Vec<(PeerState, Option<bool>)> {
        let later = self
            .states
            .iter()
            .flat_map(|it| it.state.later(at).into_iter().map(|state| (state, it.was_served)));
        later.collect()
    }

    /// Forgets the difference between served and not served once all states agree.
    fn resolve(&mut self) -> Option<Resolved> {
        let first = self.states.first()?.was_served?;
        if self.states.iter().any(|it| it.was_served != Some(first)) {
            return None;
        }
        for possible in &mut self.states {
            possible.was_served = None;
        }
        Some(if first { Resolved::Served } else { Resolved::NotServed })
    }

    fn remember(&mut self, line: String) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(line);
    }
}

/// Equal states become one. If they differ in whether the request was served, it makes no difference.
fn without_duplicates(states: Vec<Possible>) -> Vec<Possible> {
    let mut distinct = Vec::<Possible>::new();
    for possible in states {
        match distinct.iter_mut().find(|it| it.state == possible.state) {
            Some(same) if same.was_served != possible.was_served => same.was_served = None,
            Some(_) => {}
            None => distinct.push(possible),
        }
    }
    distinct
}

/// How many requests a message quotes.
const RECENT: usize = 16;
