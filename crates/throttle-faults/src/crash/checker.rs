//! Checks a history: what the clients sent and received, and when the server was killed and started.
//!
//! The checker is a pure state machine: events in, violations out. It follows each peer by its
//! [knowledge](super::peer_knowledge) and collects [claims] about locks, which it compares when it
//! is asked to.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    coverage::Coverage,
    event::{Answer, Request, Semaphore},
    peer_knowledge::{PeerKnowledge, Resolved},
    peer_state::{PeerState, Sent},
};
use crate::claims::{self, Claim, Maxima, Moment, Rule, Violation};

/// The state of a check.
#[derive(Debug)]
pub struct Checker {
    semaphores: BTreeMap<&'static str, Semaphore>,
    peers: BTreeMap<u64, PeerKnowledge>,
    forgotten: BTreeSet<u64>,
    open: BTreeMap<RequestNumber, Open>,
    claims: Vec<Claim>,
    coverage: Coverage,
    violations: Vec<Violation>,
    next: u64,
    killed: Option<Moment>,
    /// Of requests that had no answer when the server was killed: of which kill.
    unanswered: BTreeMap<u64, usize>,
    /// The kills of which one of these requests turned out as served, and as not served.
    served_of: BTreeSet<usize>,
    not_served_of: BTreeSet<usize>,
    /// The claims that were pending, and held, at the last kill.
    pending_at_kill: BTreeSet<usize>,
    held_at_kill: BTreeSet<usize>,
    /// Those of them that were seen pending after it.
    seen_pending: BTreeSet<usize>,
}

/// Identifies a request of a history.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RequestNumber(u64);

/// A request without an answer so far.
#[derive(Debug)]
struct Open {
    request: Request,
    sent: Moment,
    claim: usize,
}

impl Checker {
    /// A check of a server with these semaphores.
    pub fn new(semaphores: &[Semaphore]) -> Self {
        Self {
            semaphores: semaphores.iter().map(|it| (it.name, *it)).collect(),
            peers: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            open: BTreeMap::new(),
            claims: Vec::new(),
            coverage: Coverage::default(),
            violations: Vec::new(),
            next: 0,
            killed: None,
            unanswered: BTreeMap::new(),
            served_of: BTreeSet::new(),
            not_served_of: BTreeSet::new(),
            pending_at_kill: BTreeSet::new(),
            held_at_kill: BTreeSet::new(),
            seen_pending: BTreeSet::new(),
        }
    }

    /// A request is about to be sent. A peer has one open request at a time.
    pub fn sent(&mut self, at: Moment, request: Request) -> RequestNumber {
        self.next += 1;
        let number = self.next;
        let mut claim = self.claims.len();
        if let Request::Acquire { peer, semaphore, count, .. } = request {
            let known = self.peers.get(&peer).into_iter().flat_map(PeerKnowledge::possible_locks);
            match known.filter(|lock| lock.semaphore.name == semaphore).last() {
                Some(lock) => claim = lock.claim,
                None => self.claims.push(Claim::new(format!("peer {peer}"), semaphore, count, at)),
            }
        }
        self.cut(number, at, &request);
        self.open.insert(RequestNumber(number), Open { request, sent: at, claim });
        RequestNumber(number)
    }

    /// Shortens the claims that the request may end.
    fn cut(&mut self, number: u64, at: Moment, request: &Request) {
        let Some(peer) = request.peer().and_then(|peer| self.peers.get(&peer)) else { return };
        for lock in peer.possible_locks() {
            let claim = &mut self.claims[lock.claim];
            let is_same = |semaphore: &str| lock.semaphore.name == semaphore;
            match *request {
                Request::Release { semaphore, sequence, .. }
                    if is_same(semaphore) && !peer.is_stale(sequence) =>
                {
                    claim.may_be_cut(number, at, 0);
                }
                Request::Remove { .. } => claim.may_be_cut(number, at, 0),
                Request::Acquire { semaphore, count, sequence, .. }
                    if is_same(semaphore) && count < lock.count && !peer.is_stale(sequence) =>
                {
                    claim.may_be_cut(number, at, count);
                }
                _ => {}
            }
            if let Request::Heartbeat { lease, .. } | Request::Acquire { lease: Some(lease), .. } =
                *request
            {
                claim.lease_end = claim.lease_end.min(at.after(lease));
            }
        }
    }

    /// The answer to a request has arrived.
    ///
    /// # Panics
    ///
    /// If the request is not open.
    pub fn answered(&mut self, at: Moment, number: RequestNumber, answer: &Answer) {
        let Open { request, sent, claim } = self.open.remove(&number).expect(IS_OPEN);
        self.coverage.answers += 1;
        if let (Request::NewPeer { lease }, Answer::Created { peer }) = (&request, answer) {
            self.peers.insert(*peer, PeerKnowledge::new(PeerState::new(*lease, sent)));
            return;
        }
        if matches!(answer, Answer::Refused { .. }) {
            self.retract(&request, number.0);
        }
        let Some(peer_id) = request.peer() else {
            self.violate(Rule::Memory, format!("{request:?} is answered {answer:?}"));
            return;
        };
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        let semaphore = semaphore_of(&self.semaphores, &request);
        let was_stale = matches!(
            &request,
            Request::Acquire { sequence, .. } | Request::Release { sequence, .. }
                | Request::Restore { sequence, .. } if peer.is_stale(*sequence)
        );
        match peer.answered(Sent { request: &request, at: sent, claim, semaphore }, at, answer) {
            Ok(resolved) => {
                peer.tell(&mut self.claims, sent, at);
                self.count_resolved(peer_id, resolved);
                self.count_recovered(peer_id, sent);
                let is_after_restart = self.killed.is_some();
                self.coverage.stale_refused += usize::from(was_stale && is_after_restart);
            }
            Err(message) => {
                self.peers.remove(&peer_id);
                self.violate(Rule::Memory, message);
            }
        }
    }

    /// The connection broke before the answer.
    ///
    /// # Panics
    ///
    /// If the request is not open.
    pub fn unanswered(&mut self, at: Moment, number: RequestNumber) {
        let Open { request, sent, claim } = self.open.remove(&number).expect(IS_OPEN);
        let changes = !matches!(request, Request::Inspect { .. } | Request::IsHeld { .. });
        self.coverage.unanswered += usize::from(changes);
        let semaphore = semaphore_of(&self.semaphores, &request);
        let Some(peer_id) = request.peer() else { return };
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.unanswered(Sent { request: &request, at: sent, claim, semaphore }, at);
        peer.tell_lease_end(&mut self.claims);
        if changes {
            self.unanswered.insert(peer_id, self.coverage.kills);
        }
    }

    /// The process of the server is about to be killed.
    pub fn kill(&mut self) {
        self.coverage.kills_with_requests += usize::from(!self.open.is_empty());
    }

    /// The server was killed during its first start, and nothing else has happened yet.
    pub fn killed_first_start(&mut self) {
        self.coverage.kills_of_first_starts += 1;
    }

    /// The process of the server has ended, at this moment or earlier.
    pub fn killed(&mut self, at: Moment, was_ready: bool) {
        self.coverage.kills += 1;
        self.coverage.kills_while_starting += usize::from(!was_ready);
        self.killed = Some(at);
        self.pending_at_kill.clear();
        self.held_at_kill.clear();
        self.seen_pending.clear();
        for lock in self.peers.values().flat_map(PeerKnowledge::possible_locks) {
            let claim = &self.claims[lock.claim];
            if claim.held_by.is_some() {
                self.held_at_kill.insert(lock.claim);
            } else if claim.still_pending.is_some() {
                self.pending_at_kill.insert(lock.claim);
            }
        }
    }

    /// A new process of the server is about to be started.
    pub fn started(&mut self, at: Moment) {
        let Some(killed) = self.killed else { return };
        let busy = self.open.values().filter_map(|open| open.request.peer());
        let busy = busy.collect::<BTreeSet<_>>();
        for (id, peer) in &mut self.peers {
            peer.restarted(killed, at);
            if !busy.contains(id) {
                peer.tell_lease_end(&mut self.claims);
            }
        }
    }

    /// The peer is gone, and no more requests about it will be sent.
    pub fn forget(&mut self, peer: u64) {
        if self.open.values().all(|open| open.request.peer() != Some(peer)) {
            self.peers.remove(&peer);
            self.forgotten.insert(peer);
        }
    }

    /// Whether [`forget`](Self::forget) was called for this peer.
    pub fn was_forgotten(&self, peer: u64) -> bool {
        self.forgotten.contains(&peer)
    }

    /// A claim of a client that keeps its lease alive itself. It ends when [`leave`](Self::leave) is called.
    pub fn enter(&mut self, claim: Claim) -> usize {
        self.coverage.entries += 1;
        self.claims.push(claim);
        self.claims.len() - 1
    }

    /// A client is told to release the lock of this claim, or reports its loss.
    pub fn leave(&mut self, claim: usize, at: Moment) {
        self.claims[claim].may_be_cut(0, at, 0);
    }

    /// Records a violation that somebody else has found.
    pub fn violate(&mut self, rule: Rule, message: impl Into<String>) {
        self.violations.push(Violation::new(rule, message));
    }

    /// Compares all claims with each other. Returns all violations so far.
    pub fn check(&self) -> Vec<Violation> {
        let maxima = self.semaphores.values().map(|it| (it.name, it.max)).collect::<Maxima>();
        let mut violations = self.violations.clone();
        violations.extend(claims::violations(&self.claims, &maxima));
        violations
    }

    /// The violations found without comparing claims.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What the history exercised so far.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage;
        coverage.kills_within_commit = self.served_of.len();
        coverage.kills_before_commit = self.not_served_of.len();
        coverage
    }

    /// A refused request has lowered nothing.
    fn retract(&mut self, request: &Request, number: u64) {
        let peer = request.peer().and_then(|peer| self.peers.get(&peer));
        for lock in peer.into_iter().flat_map(PeerKnowledge::possible_locks) {
            self.claims[lock.claim].is_not_cut(number);
        }
    }

    fn count_resolved(&mut self, peer: u64, resolved: Option<Resolved>) {
        let Some(kill) = self.unanswered.remove(&peer) else { return };
        match resolved {
            Some(Resolved::Served) => {
                self.coverage.served_unanswered += 1;
                self.served_of.insert(kill);
            }
            Some(Resolved::NotServed) => {
                self.coverage.not_served += 1;
                self.not_served_of.insert(kill);
            }
            None => {}
        }
    }

    fn count_recovered(&mut self, peer: u64, sent: Moment) {
        if self.killed.is_none_or(|killed| sent < killed) {
            return;
        }
        let Some(peer) = self.peers.get(&peer) else { return };
        for lock in peer.possible_locks() {
            let claim = &self.claims[lock.claim];
            if claim.held_by.is_some() && claim.still_held >= Some(sent) {
                let was_held = self.held_at_kill.remove(&lock.claim);
                self.coverage.locks_recovered += usize::from(was_held);
                let was_pending = self.pending_at_kill.remove(&lock.claim);
                self.coverage.granted_after_restart += usize::from(was_pending);
                let is_first = was_pending && !self.seen_pending.contains(&lock.claim);
                self.coverage.waiters_recovered += usize::from(is_first);
            } else if claim.still_pending >= Some(sent)
                && self.pending_at_kill.contains(&lock.claim)
                && self.seen_pending.insert(lock.claim)
            {
                self.coverage.waiters_recovered += 1;
            }
        }
    }
}

fn semaphore_of(
    semaphores: &BTreeMap<&'static str, Semaphore>,
    request: &Request,
) -> Option<Semaphore> {
    match request {
        Request::Acquire { semaphore, .. }
        | Request::Release { semaphore, .. }
        | Request::IsHeld { semaphore, .. } => semaphores.get(semaphore).copied(),
        _ => None,
    }
}

const IS_OPEN: &str = "a request is answered once";
