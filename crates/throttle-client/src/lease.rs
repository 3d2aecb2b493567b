//! Whether a peer still has what it believes to have: the decisions, without a clock or a socket.
//!
//! The server lets a lease begin when it receives a sign of life, which is not before it was sent.
//! So whoever counts from before they sent it, on a clock that goes on while the machine sleeps,
//! knows an instant until which the server certainly keeps their locks: the *local deadline*. A peer
//! that is not confirmed again until then has lost what it holds, whatever the reason, and says so
//! before the server can grant it to somebody else.
//!
//! [`Lease::poll`] tells what to do next; what was answered is told to [`Lease::renewed`],
//! [`Lease::unknown_peer`], [`Lease::refused`] and [`Lease::no_answer`]. In the manner of
//! quinn-proto: what goes in and what comes out are values, so lost answers, restarted servers and
//! suspended machines are tested without any.

use std::{collections::BTreeMap, time::Duration};

use throttle_wire::{Code, PeerId};

use crate::world::Time;

/// Why locks were lost that had not been released.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// This program closed the peer.
    #[error("the peer was closed")]
    Closed,
    /// The lease ended, for this program did not get to show a sign of life in time: the machine was
    /// suspended, or overloaded.
    #[error("the lease expired")]
    Expired,
    /// The server does not let the peer go on, for the reason this code says. A server that was
    /// started again without the semaphore answers `unknown_semaphore`.
    #[error("the server refused to keep it: {0}")]
    Refused(Code),
    /// Somebody removed the peer at the server.
    #[error("somebody removed the peer")]
    Revoked,
    /// The server did not answer until the lease ended.
    #[error("the server was unreachable until the lease ended")]
    Unreachable,
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Show a sign of life, and wait for the answer no longer than this.
    Heartbeat { peer: PeerId, timeout: Duration },
    /// There is no peer, so there is nothing to do.
    Idle,
    /// Everything is lost, as of now. Said once.
    Lost(Lost),
    /// Tell the server, which forgot the peer, what it holds.
    Restore { peer: PeerId, locks: BTreeMap<String, u64>, timeout: Duration },
    /// Nothing until this instant.
    Wait(Time),
}

/// What is known of a peer at the server.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Duration,
    /// The longest time between two signs of life.
    interval: Duration,
    /// If not, the lease begins anew with requests for locks only.
    shows_signs_of_life: bool,
    state: Option<Living>,
}

/// A peer that the server knew when it was last heard of.
#[derive(Debug)]
struct Living {
    peer: PeerId,
    /// When the last sign of life was sent that was answered.
    sent: Time,
    /// When that answer arrived. `None` if somebody else has got it.
    heard: Option<Time>,
    /// When to show the next sign of life.
    next: Time,
    /// Signs of life since then that were not answered.
    failures: u32,
    /// How often the time for an answer has been doubled, for none came.
    patience: u32,
    /// Since when it is known that the server does not know the peer, and shall hear of it again.
    forgotten: Option<Time>,
    held: BTreeMap<String, u64>,
}

impl Lease {
    /// A lease of `length` that nobody has yet. Signs of life are shown every third of it, or more
    /// often.
    pub(crate) fn new(
        length: Duration,
        interval: Option<Duration>,
        shows_signs_of_life: bool,
    ) -> Self {
        let third = length / 3;
        let interval = interval.map_or(third, |it| it.min(third));
        Self { length, interval, shows_signs_of_life, state: None }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// The peer, and whether the server has to be told of it again.
    pub(crate) fn peer(&self) -> Option<(PeerId, bool)> {
        self.state.as_ref().map(|living| (living.peer, living.forgotten.is_some()))
    }

    /// Whether `peer` holds `semaphore`.
    pub(crate) fn holds(&self, peer: PeerId, semaphore: &str) -> bool {
        self.living(peer).is_some_and(|living| living.held.contains_key(semaphore))
    }

    /// Whether there is a peer that holds anything.
    pub(crate) fn holds_anything(&self) -> bool {
        self.state.as_ref().is_some_and(|living| !living.held.is_empty())
    }

    /// Until when the server certainly keeps the locks of `peer`.
    ///
    /// A 64th of the lease is left out, for no two clocks go at the same rate.
    pub(crate) fn deadline(&self, peer: PeerId) -> Option<Time> {
        self.living(peer).map(|living| self.deadline_after(living.sent))
    }

    /// The server has created `peer` on a request sent at `sent` and answered at `now`.
    pub(crate) fn opened(&mut self, peer: PeerId, sent: Time, now: Time, jitter: f64) {
        let held = BTreeMap::new();
        let next = self.beat_after(sent, jitter);
        let (failures, patience, forgotten, heard) = (0, 0, None, Some(now));
        self.state = Some(Living { peer, sent, heard, next, failures, patience, forgotten, held });
    }

    /// The server knows `peer` already, which holds `held`, and whose last sign of life was sent at
    /// `sent`. The next one is due.
    pub(crate) fn adopted(&mut self, peer: PeerId, held: BTreeMap<String, u64>, sent: Time) {
        let (failures, patience, forgotten, heard) = (0, 0, None, None);
        let next = sent;
        self.state = Some(Living { peer, sent, heard, next, failures, patience, forgotten, held });
    }

    /// This is all that `peer` holds now.
    pub(crate) fn holds_now(&mut self, peer: PeerId, held: BTreeMap<String, u64>) {
        if let Some(living) = self.living_mut(peer) {
            living.held = held;
        }
    }

    /// The server has answered a request that let the lease of `peer` begin anew.
    pub(crate) fn renewed(&mut self, peer: PeerId, sent: Time, now: Time, jitter: f64) {
        let next = self.beat_after(sent, jitter);
        let is_swift = now.since(sent) < self.length / SHORTEST_PATIENCE;
        if let Some(living) = self.living_mut(peer) {
            if is_swift {
                living.patience = 0;
            }
            living.heard = living.heard.max(Some(now));
            // What was sent before that may have been answered before the server forgot.
            living.forgotten = living.forgotten.filter(|&since| sent < since);
            living.failures = 0;
            // An answer may be overtaken by that of a later request.
            if living.sent <= sent && living.forgotten.is_none() {
                living.sent = sent;
                living.next = next;
            }
        }
    }

    /// `peer` holds `count` of `semaphore` now. Returns whether it counts: nothing is granted to whom
    /// is lost already.
    #[must_use]
    pub(crate) fn acquired(
        &mut self,
        peer: PeerId,
        semaphore: &str,
        count: u64,
        now: Time,
    ) -> bool {
        let is_safe = self.deadline(peer).is_some_and(|deadline| now < deadline);
        match self.living_mut(peer) {
            Some(living) if is_safe => {
                living.held.insert(semaphore.to_owned(), count);
                true
            }
            _ => false,
        }
    }

    /// `peer` gives `semaphore` back, or has given it up.
    pub(crate) fn released(&mut self, peer: PeerId, semaphore: &str) {
        if let Some(living) = self.living_mut(peer) {
            living.held.remove(semaphore);
        }
    }

    /// The server does not know `peer`.
    ///
    /// `uptime` is for how long the server has been running, as it said itself. If it ran already when
    /// it last confirmed the peer, it did not forget it: somebody removed it. If not, or if the server
    /// does not say, it is told of the peer again. Returns why everything is lost, if it is.
    ///
    /// An answer to something that was sent before the last confirmation is old news, and a reason to
    /// ask again.
    pub(crate) fn unknown_peer(
        &mut self,
        peer: PeerId,
        sent: Time,
        now: Time,
        uptime: Option<Duration>,
    ) -> Option<Lost> {
        let deadline = self.deadline(peer)?;
        let living = self.living_mut(peer)?;
        let lost = if deadline <= now {
            Lost::Expired
        } else if sent < living.sent {
            living.next = now;
            return None;
        } else if uptime.zip(living.heard).is_some_and(|(up, heard)| now.since(heard) < up) {
            Lost::Revoked
        } else {
            living.forgotten = Some(now);
            living.next = now;
            return None;
        };
        self.state = None;
        Some(lost)
    }

    /// The server refuses to let `peer` go on. Returns why everything is lost, if it is.
    pub(crate) fn refused(&mut self, peer: PeerId, now: Time, code: Code) -> Option<Lost> {
        let living = self.living_mut(peer)?;
        if code == Code::RestoreConflict {
            // So it lives, with a lock that was granted or asked for while the answer got lost.
            living.forgotten = None;
            living.next = now;
            return None;
        }
        self.state = None;
        Some(Lost::Refused(code))
    }

    /// A sign of life was not answered. The next one comes soon.
    pub(crate) fn no_answer(&mut self, peer: PeerId, now: Time, jitter: f64) {
        let length = self.length;
        if let Some(living) = self.living_mut(peer) {
            let doubled = 1 << living.failures.min(3);
            let pause = (length / 64).clamp(SHORTEST_PAUSE, LONGEST_PAUSE) * doubled;
            living.failures += 1;
            living.patience = (living.patience + 1).min(2);
            living.next = now + pause.mul_f64(1.0 - jitter / 2.0);
        }
    }

    /// There is no peer any more, because it was given up here.
    pub(crate) fn close(&mut self) -> Option<PeerId> {
        self.state.take().map(|living| living.peer)
    }

    /// What to do at `now`.
    pub(crate) fn poll(&mut self, now: Time) -> Step {
        let Some(living) = &self.state else { return Step::Idle };
        let deadline = self.deadline_after(living.sent);
        if deadline <= now {
            let lost = if living.failures > 0 { Lost::Unreachable } else { Lost::Expired };
            self.state = None;
            return Step::Lost(lost);
        }
        let is_told_enough = !self.shows_signs_of_life && living.forgotten.is_none();
        if is_told_enough {
            return Step::Wait(deadline);
        }
        if now < living.next {
            return Step::Wait(living.next.min(deadline));
        }
        let peer = living.peer;
        // One answer that gets lost is noticed soon; a way that is always slow is waited for.
        let patience = self.length / SHORTEST_PATIENCE * (1 << living.patience);
        let timeout = patience.min(deadline.since(now));
        if living.forgotten.is_some() {
            return Step::Restore { peer, locks: living.held.clone(), timeout };
        }
        Step::Heartbeat { peer, timeout }
    }

    fn living(&self, peer: PeerId) -> Option<&Living> {
        self.state.as_ref().filter(|living| living.peer == peer)
    }

    fn living_mut(&mut self, peer: PeerId) -> Option<&mut Living> {
        self.state.as_mut().filter(|living| living.peer == peer)
    }

    fn deadline_after(&self, sent: Time) -> Time {
        sent + (self.length - self.length / 64)
    }

    /// Up to a quarter earlier than the interval, so that peers that came together do not stay so.
    fn beat_after(&self, sent: Time, jitter: f64) -> Time {
        sent + self.interval.mul_f64(1.0 - jitter / 4.0)
    }
}

/// The part of the lease for which an answer is waited for at first. So four signs of life fit into it.
const SHORTEST_PATIENCE: u32 = 6;

/// Bounds of the first pause after a sign of life that was not answered.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
