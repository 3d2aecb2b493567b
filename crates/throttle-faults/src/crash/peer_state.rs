//! One possible state of a peer, and what the server may answer in it.
//!
//! The rules are those of `docs/guarantees.md`, written a second time and as plainly as possible. Locks carry the
//! number of their [claim](crate::claims::Claim).

use std::time::Duration;

use super::event::{Answer, Lock, Request, Semaphore};
use crate::claims::Moment;

/// A state in which a peer may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum PeerState {
    /// It is gone. A restore with a lower number is stale.
    Absent { sequence: u64 },
    /// It lives.
    Living(Living),
}

/// A living peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Living {
    pub(super) held: Vec<OwnLock>,
    pub(super) pending: Option<OwnLock>,
    pub(super) sequence: u64,
    pub(super) lease: Duration,
    /// The earliest moment at which it can expire.
    pub(super) lease_end: Moment,
}

/// A lock of a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OwnLock {
    pub(super) claim: usize,
    pub(super) semaphore: Semaphore,
    pub(super) count: u64,
    /// `None` if no answer showed it yet.
    pub(super) token: Option<u64>,
}

/// A request, when it was sent, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub(super) request: &'a Request,
    pub(super) at: Moment,
    /// The claim of a new lock.
    pub(super) claim: usize,
    /// The semaphore of the request, if it has one.
    pub(super) semaphore: Option<Semaphore>,
}

impl PeerState {
    /// A new peer.
    pub(super) fn new(lease: Duration, sent: Moment) -> Self {
        Self::Living(Living {
            held: Vec::new(),
            pending: None,
            sequence: 0,
            lease,
            lease_end: sent.after(lease),
        })
    }

    /// What may have become of this state by itself until `at`: its pending lock was granted, it expired.
    pub(super) fn later(&self, at: Moment) -> Vec<Self> {
        let mut states = vec![self.clone()];
        if let Self::Living(living) = self {
            if living.pending.is_some() {
                let mut granted = living.clone();
                granted.held.extend(granted.pending.take());
                states.push(Self::Living(granted));
            }
            if at >= living.lease_end {
                states.push(Self::Absent { sequence: living.sequence });
            }
        }
        states
    }

    /// The answers that the server may give in this state, each with the state after it.
    pub(super) fn serve(&self, sent: Sent<'_>) -> Vec<(Answer, Self)> {
        match self {
            Self::Absent { sequence } => vec![serve_absent(*sequence, sent)],
            Self::Living(living) => living.serve(sent),
        }
    }

    /// The same state with the tokens that `answer` shows, if it is an answer as expected.
    pub(super) fn explain(mut self, expected: &Answer, answer: &Answer) -> Option<Self> {
        match (expected, answer) {
            (
                Answer::Held { count, token: known },
                Answer::Held { count: shown_count, token: Some(shown) },
            ) => {
                (count == shown_count && known.is_none_or(|known| known == *shown)).then_some(())?;
                let Self::Living(living) = &mut self else { return None };
                // The lock in question is the only one without a token, unless it has this one.
                if let Some(lock) = living.held.iter_mut().find(|lock| lock.token == *known) {
                    lock.token = Some(*shown);
                }
                Some(self)
            }
            (Answer::Peer { .. }, Answer::Peer { held, pending }) => {
                let Self::Living(living) = &mut self else { return None };
                if held.len() != living.held.len() {
                    return None;
                }
                for lock in &mut living.held {
                    let shown = held.iter().find(|it| it.semaphore == lock.semaphore.name)?;
                    let known = lock.token.is_none_or(|token| shown.token == Some(token));
                    (shown.count == lock.count && known).then_some(())?;
                    lock.token = shown.token;
                }
                let expected = living.pending.map(|it| (it.semaphore.name, it.count));
                let shown = pending.as_ref().map(|it| (it.semaphore.as_str(), it.count));
                (expected == shown).then_some(self)
            }
            _ => (expected == answer).then_some(self),
        }
    }
}

fn serve_absent(floor: u64, sent: Sent<'_>) -> (Answer, PeerState) {
    let absent = |sequence| PeerState::Absent { sequence };
    let unknown = || Answer::refused("unknown_peer");
    match *sent.request {
        Request::Acquire { sequence: Some(sequence), .. }
        | Request::Release { sequence: Some(sequence), .. }
        | Request::Restore { sequence: Some(sequence), .. }
            if sequence < floor =>
        {
            (Answer::refused("stale_request"), absent(floor))
        }
        Request::Acquire { sequence, .. } | Request::Release { sequence, .. } => {
            (unknown(), absent(floor.max(sequence.unwrap_or_default())))
        }
        Request::Restore { lease, sequence, .. } => {
            let PeerState::Living(mut living) = PeerState::new(lease, sent.at) else {
                unreachable!("a new peer lives")
            };
            living.sequence = sequence.unwrap_or_default();
            (Answer::Done, PeerState::Living(living))
        }
        Request::Remove { sequence, .. } => {
            (Answer::Removed { existed: false }, absent(floor.max(sequence.unwrap_or_default())))
        }
        Request::IsHeld { .. } => (Answer::refused("not_held"), absent(floor)),
        Request::Heartbeat { .. } | Request::Inspect { .. } | Request::NewPeer { .. } => {
            (unknown(), absent(floor))
        }
    }
}

impl Living {
    fn serve(&self, sent: Sent<'_>) -> Vec<(Answer, PeerState)> {
        let mut next = self.clone();
        let sequence = match *sent.request {
            Request::Acquire { sequence, .. }
            | Request::Release { sequence, .. }
            | Request::Restore { sequence, .. } => sequence,
            _ => None,
        };
        if let Some(sequence) = sequence {
            if sequence < self.sequence {
                return vec![next.after(Answer::refused("stale_request"))];
            }
            next.sequence = sequence;
        }
        match *sent.request {
            Request::NewPeer { .. } => Vec::new(),
            Request::Inspect { .. } => vec![next.clone().after(next.view())],
            Request::IsHeld { semaphore, token, .. } => {
                let lock = self.held.iter().find(|lock| lock.semaphore.name == semaphore);
                let held = lock.filter(|lock| lock.token.is_none_or(|known| known == token));
                let answer = held.map_or_else(
                    || Answer::refused("not_held"),
                    |lock| Answer::Held { count: lock.count, token: Some(token) },
                );
                vec![next.after(answer)]
            }
            Request::Heartbeat { lease, .. } => {
                next.renew(lease, sent.at);
                vec![next.after(Answer::Done)]
            }
            Request::Restore { lease, .. } => {
                if !self.held.is_empty() || self.pending.is_some() {
                    return vec![self.clone().after(Answer::refused("restore_conflict"))];
                }
                next.renew(lease, sent.at);
                vec![next.after(Answer::Done)]
            }
            Request::Remove { sequence, .. } => {
                let sequence = self.sequence.max(sequence.unwrap_or_default());
                vec![(Answer::Removed { existed: true }, PeerState::Absent { sequence })]
            }
            Request::Release { semaphore, .. } => {
                next.held.retain(|lock| lock.semaphore.name != semaphore);
                next.pending = next.pending.filter(|lock| lock.semaphore.name != semaphore);
                vec![next.after(Answer::Done)]
            }
            Request::Acquire { count, lease, .. } => {
                if let Some(lease) = lease {
                    next.renew(lease, sent.at);
                }
                next.acquire(sent, count)
            }
        }
    }

    fn acquire(mut self, sent: Sent<'_>, count: u64) -> Vec<(Answer, PeerState)> {
        let semaphore = sent.semaphore.expect("an acquire names a semaphore of the configuration");
        let level = self.held.iter().map(|lock| lock.semaphore.level).min();
        let breaks_hierarchy = level.is_some_and(|level| level <= semaphore.level);
        if let Some(held) = self.held.iter_mut().find(|it| it.semaphore.name == semaphore.name) {
            if count > held.count {
                let code = if count > semaphore.max {
                    "never_acquirable"
                } else {
                    "lock_hierarchy_violation"
                };
                return vec![self.after(Answer::refused(code))];
            }
            held.count = count;
            let token = held.token;
            return vec![self.after(Answer::Held { count, token })];
        }
        if count > semaphore.max {
            return vec![self.after(Answer::refused("never_acquirable"))];
        }
        if let Some(pending) = &mut self.pending {
            if pending.semaphore.name != semaphore.name || count > pending.count {
                return vec![self.after(Answer::refused("already_pending"))];
            }
            pending.count = count;
        } else if breaks_hierarchy {
            return vec![self.after(Answer::refused("lock_hierarchy_violation"))];
        } else {
            self.pending = Some(OwnLock { claim: sent.claim, semaphore, count, token: None });
        }
        let mut granted = self.clone();
        granted.held.extend(granted.pending.take());
        vec![
            granted.after(Answer::Held { count, token: None }),
            self.after(Answer::Pending { count }),
        ]
    }

    fn renew(&mut self, lease: Duration, sent: Moment) {
        self.lease = lease;
        self.lease_end = sent.after(lease);
    }

    fn view(&self) -> Answer {
        let lock = |lock: &OwnLock| Lock {
            semaphore: lock.semaphore.name.to_owned(),
            count: lock.count,
            token: lock.token,
        };
        Answer::Peer {
            held: self.held.iter().map(lock).collect(),
            pending: self.pending.as_ref().map(lock),
        }
    }

    fn after(self, answer: Answer) -> (Answer, PeerState) {
        (answer, PeerState::Living(self))
    }

    /// Its locks, held and pending.
    pub(super) fn locks(&self) -> impl Iterator<Item = &OwnLock> {
        self.held.iter().chain(&self.pending)
    }
}
