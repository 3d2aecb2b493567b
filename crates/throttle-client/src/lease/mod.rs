//! Decides whether a peer still holds its locks and what to send next, without a clock or a socket.
//!
//! The server starts a lease when it receives a request, which is not before the client sent it. So a client
//! that counts from the instant of sending, on a clock that includes time in suspension, knows how long the
//! server certainly keeps its locks: until the *local deadline*. A peer that is not confirmed again before
//! then is lost for any reason, and says so before the server can grant its locks to others.
//!
//! Answers to requests that were sent before the server forgot the peer do not count: they neither grant a
//! lock nor renew the lease.
//!
//! [`Lease::poll`] returns the next step. Answers are passed to [`Lease::renewed`], [`Lease::restored`],
//! [`Lease::inspected`], [`Lease::unknown_peer`], [`Lease::refused`] and [`Lease::no_answer`]. As in
//! quinn-proto, inputs and outputs are values, so lost answers, restarted servers and suspended machines can
//! be tested without any of them.

mod live_peer;
mod lost;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use throttle_wire::{Code, PeerId};

use self::live_peer::{LivePeer, ServerView};
pub use self::lost::Lost;
use crate::clock::Time;

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Send a heartbeat.
    Heartbeat { peer: PeerId, timeout: Duration },
    /// Do nothing, because there is no peer.
    Idle,
    /// Ask the server what the peer holds.
    Inspect { peer: PeerId, timeout: Duration },
    /// Report the loss of the peer and all its locks. Returned once.
    Lost(Lost),
    /// Tell the server, which forgot the peer, what the peer holds.
    Restore { peer: PeerId, locks: BTreeMap<String, u64>, timeout: Duration },
    /// Do nothing until this instant.
    Wait(Time),
}

/// The lease of one peer, as far as it is known here.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Duration,
    /// The longest time between two heartbeats. `None` if the peer sends none, so that only requests for
    /// locks renew the lease.
    heartbeat_interval: Option<Duration>,
    live: Option<LivePeer>,
}

impl Lease {
    /// A lease of `length` without a peer. Heartbeats are due every third of it, or more often.
    pub(crate) fn new(length: Duration, heartbeat_interval: Option<Duration>) -> Self {
        let third = length / 3;
        let heartbeat_interval = Some(heartbeat_interval.map_or(third, |it| it.min(third)));
        Self { length, heartbeat_interval, live: None }
    }

    /// The same lease for a peer that sends no heartbeats by itself.
    pub(crate) fn without_heartbeats(self) -> Self {
        Self { heartbeat_interval: None, ..self }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// Whether the peer sends heartbeats by itself.
    pub(crate) fn sends_heartbeats(&self) -> bool {
        self.heartbeat_interval.is_some()
    }

    /// The peer, unless it is lost or there was none.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        self.live.as_ref().map(|live| live.peer)
    }

    /// Whether the server forgot the peer or has it with other locks, so that the peer cannot be used now.
    pub(crate) fn needs_restore(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.server_view != ServerView::Known)
    }

    /// Whether there is a [`Lock`](crate::Lock) for `semaphore` by `peer`.
    pub(crate) fn holds(&self, peer: PeerId, semaphore: &str) -> bool {
        self.live_peer(peer).is_some_and(|live| {
            live.held.contains_key(semaphore) && !live.unclaimed.contains(semaphore)
        })
    }

    /// Whether there is a peer, and it holds a lock.
    pub(crate) fn holds_anything(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.held.is_empty())
    }

    /// Until when the server certainly keeps the locks of `peer`, provided that it confirmed them.
    ///
    /// A 64th of the lease is subtracted, because no two clocks run at exactly the same rate.
    pub(crate) fn deadline(&self, peer: PeerId) -> Option<Time> {
        self.live_peer(peer).map(|live| self.deadline_after(live.lease_start))
    }

    /// The deadline of the peer, if the server confirmed the peer.
    pub(crate) fn certain_until(&self) -> Option<Time> {
        let live = self.live.as_ref().filter(|live| live.is_confirmed)?;
        Some(self.deadline_after(live.lease_start))
    }

    /// The server has created `peer` by a request sent at `sent`.
    pub(crate) fn created(&mut self, peer: PeerId, sent: Time, jitter: f64) {
        let next = self.next_heartbeat_after(sent, jitter);
        let live = LivePeer::new(peer, ServerView::Known, sent, next);
        self.live = Some(LivePeer { is_confirmed: true, ..live });
    }

    /// Takes over `peer`, which is believed to hold `held`. The next step is to restore it.
    pub(crate) fn resumed(&mut self, peer: PeerId, held: BTreeMap<String, u64>, now: Time) {
        let live = LivePeer::new(peer, ServerView::Forgotten, now, now);
        let unclaimed = held.keys().cloned().collect();
        self.live = Some(LivePeer { held, unclaimed, ..live });
    }

    /// Makes a heartbeat due now.
    pub(crate) fn request_heartbeat(&mut self, now: Time) {
        if let Some(live) = &mut self.live {
            live.heartbeat_requested = true;
            live.next_heartbeat = live.next_heartbeat.min(now);
        }
    }

    /// The server has answered a request that renews the lease of `peer`. Returns whether the answer counts.
    pub(crate) fn renewed(&mut self, peer: PeerId, sent: Time, now: Time, jitter: f64) -> bool {
        let is_fast = now.since(sent) < self.length / FIRST_TIMEOUT_FRACTION;
        let next = self.next_heartbeat_after(sent, jitter);
        let Some(live) = self.live_peer_mut(peer) else { return false };
        if is_fast {
            live.timeout_doublings = 0;
        }
        if live.server_view != ServerView::Known || sent < live.valid_from {
            return false;
        }
        live.unanswered = 0;
        // The answer to a later request may have arrived before this one.
        if live.lease_start <= sent {
            live.lease_start = sent;
            live.is_confirmed = true;
            live.loss_is_ambiguous = false;
            live.heartbeat_requested = false;
            live.next_heartbeat = next;
        }
        true
    }

    /// The server has restored `peer`. Returns whether the answer counts.
    pub(crate) fn restored(&mut self, peer: PeerId, sent: Time, now: Time, jitter: f64) -> bool {
        if let Some(live) = self.live_peer_mut(peer)
            && sent >= live.valid_from
        {
            live.server_view = ServerView::Known;
        }
        self.renewed(peer, sent, now, jitter)
    }

    /// The server has answered that `peer` holds `held`. Returns the loss if a lock of the peer is missing or
    /// smaller there, because another peer may hold it.
    pub(crate) fn inspected(
        &mut self,
        peer: PeerId,
        sent: Time,
        now: Time,
        held: &BTreeMap<String, u64>,
    ) -> Option<Lost> {
        let live = self.live_peer_mut(peer)?;
        live.next_heartbeat = now;
        if live.server_view != ServerView::Disputed || sent < live.valid_from {
            return None;
        }
        let is_confirmed = |(name, count): (&String, &u64)| {
            held.get(name).is_some_and(|at_server| count <= at_server)
        };
        if live.held.iter().all(is_confirmed) {
            // Looking at a peer does not renew its lease, so a heartbeat is due.
            live.server_view = ServerView::Known;
            live.heartbeat_requested = true;
            return None;
        }
        self.live = None;
        Some(Lost::Refused(Code::RestoreConflict))
    }

    /// The server granted `count` of `semaphore` to `peer` by a request sent at `sent`. Returns whether the
    /// grant counts: it does not if the peer is lost, or if the server may have forgotten it since.
    #[must_use]
    pub(crate) fn granted(
        &mut self,
        peer: PeerId,
        semaphore: &str,
        count: u64,
        (sent, now): (Time, Time),
    ) -> bool {
        let is_safe = self.deadline(peer).is_some_and(|deadline| now < deadline);
        match self.live_peer_mut(peer) {
            Some(live)
                if is_safe && live.server_view == ServerView::Known && live.valid_from <= sent =>
            {
                live.held.insert(semaphore.to_owned(), count);
                live.unclaimed.remove(semaphore);
                true
            }
            _ => false,
        }
    }

    /// `peer` keeps only `count` of `semaphore`. Returns whether the peer still holds it.
    #[must_use]
    pub(crate) fn shrunk(&mut self, peer: PeerId, semaphore: &str, count: u64, now: Time) -> bool {
        let is_safe = self.deadline(peer).is_some_and(|deadline| now < deadline);
        let held = self.live_peer_mut(peer).and_then(|live| live.held.get_mut(semaphore));
        held.filter(|_| is_safe).map(|held| *held = count).is_some()
    }

    /// `peer` no longer holds `semaphore`, or no longer wants it.
    pub(crate) fn released(&mut self, peer: PeerId, semaphore: &str) {
        if let Some(live) = self.live_peer_mut(peer) {
            live.held.remove(semaphore);
            live.unclaimed.remove(semaphore);
        }
    }

    /// The server answered a request sent at `sent` with `unknown_peer`. Returns the loss if the peer is
    /// lost.
    ///
    /// `remembers_for` is for how long the server has known every peer, as it reported: since it started, or for
    /// longer if its memory survives restarts. If it already did when the last confirmed request was sent, it
    /// did not forget the peer: somebody removed it, and it is never restored. Otherwise, or without a report,
    /// the peer will be restored. The report was exact at some instant between `sent` and `now`. If that leaves
    /// both cases possible, the next step is another heartbeat, whose answer leaves a shorter interval. If that
    /// one is ambiguous as well, the peer will be restored.
    ///
    /// An answer to a request older than the last confirmation is outdated; the next step is another
    /// heartbeat.
    pub(crate) fn unknown_peer(
        &mut self,
        peer: PeerId,
        sent: Time,
        now: Time,
        remembers_for: Option<Duration>,
    ) -> Option<Lost> {
        let deadline = self.deadline(peer)?;
        let live = self.live_peer_mut(peer)?;
        if deadline <= now {
            self.live = None;
            return Some(Lost::Expired);
        }
        if sent < live.lease_start || sent < live.valid_from {
            live.next_heartbeat = now;
            live.heartbeat_requested = true;
            return None;
        }
        let remembers_for = remembers_for.filter(|_| live.is_confirmed);
        // The longest and the shortest time from the confirmed request to the report.
        let (longest, shortest) = (now.since(live.lease_start), sent.since(live.lease_start));
        if remembers_for.is_some_and(|span| longest <= span) {
            self.live = None;
            return Some(Lost::Revoked);
        }
        live.next_heartbeat = now;
        if remembers_for.is_some_and(|span| shortest <= span) && !live.loss_is_ambiguous {
            live.loss_is_ambiguous = true;
            live.heartbeat_requested = true;
            return None;
        }
        live.loss_is_ambiguous = false;
        live.server_view = ServerView::Forgotten;
        live.valid_from = now;
        None
    }

    /// The server refuses to keep `peer`. Returns the loss if the peer is lost.
    pub(crate) fn refused(&mut self, peer: PeerId, now: Time, code: Code) -> Option<Lost> {
        let live = self.live_peer_mut(peer)?;
        if code == Code::RestoreConflict {
            // The server has the peer: with a lock more, because the answer that granted or queued it got
            // lost; or with a lock less.
            live.server_view = ServerView::Disputed;
            live.next_heartbeat = now;
            return None;
        }
        self.live = None;
        Some(Lost::Refused(code))
    }

    /// A heartbeat got no answer. The next one is due soon.
    pub(crate) fn no_answer(&mut self, peer: PeerId, now: Time, jitter: f64) {
        let length = self.length;
        if let Some(live) = self.live_peer_mut(peer) {
            let doubled = 1 << live.unanswered.min(3);
            let pause = (length / 64).clamp(SHORTEST_PAUSE, LONGEST_PAUSE) * doubled;
            live.unanswered += 1;
            live.timeout_doublings = (live.timeout_doublings + 1).min(2);
            live.next_heartbeat = now + pause.mul_f64(1.0 - jitter / 2.0);
        }
    }

    /// Ends the lease because the peer is closed here. Returns the peer.
    pub(crate) fn close(&mut self) -> Option<PeerId> {
        self.live.take().map(|live| live.peer)
    }

    /// What to do at `now`.
    pub(crate) fn poll(&mut self, now: Time) -> Step {
        let Some(live) = &self.live else { return Step::Idle };
        let deadline = self.deadline_after(live.lease_start);
        if deadline <= now {
            let lost = if live.unanswered > 0 { Lost::Unreachable } else { Lost::Expired };
            self.live = None;
            return Step::Lost(lost);
        }
        let is_due = self.heartbeat_interval.is_some() || live.heartbeat_requested;
        if live.server_view == ServerView::Known && !is_due {
            return Step::Wait(deadline);
        }
        if now < live.next_heartbeat {
            return Step::Wait(live.next_heartbeat.min(deadline));
        }
        let peer = live.peer;
        // A single lost answer is noticed soon, and a network that is always slow gets more time.
        let longest = self.length / FIRST_TIMEOUT_FRACTION * (1 << live.timeout_doublings);
        let timeout = longest.min(deadline.since(now));
        match live.server_view {
            ServerView::Disputed => Step::Inspect { peer, timeout },
            ServerView::Forgotten => Step::Restore { peer, locks: live.held.clone(), timeout },
            ServerView::Known => Step::Heartbeat { peer, timeout },
        }
    }

    fn live_peer(&self, peer: PeerId) -> Option<&LivePeer> {
        self.live.as_ref().filter(|live| live.peer == peer)
    }

    fn live_peer_mut(&mut self, peer: PeerId) -> Option<&mut LivePeer> {
        self.live.as_mut().filter(|live| live.peer == peer)
    }

    fn deadline_after(&self, sent: Time) -> Time {
        sent + (self.length - self.length / 64)
    }

    /// When the next heartbeat is due: the interval, shortened at random by up to a quarter, so that peers
    /// created together spread their heartbeats.
    fn next_heartbeat_after(&self, sent: Time, jitter: f64) -> Time {
        sent + self.heartbeat_interval.unwrap_or(self.length).mul_f64(1.0 - jitter / 4.0)
    }
}

/// The first timeout of a heartbeat is the lease divided by this. Four heartbeats fit into a lease then.
const FIRST_TIMEOUT_FRACTION: u32 = 6;

/// Bounds of the first pause after a heartbeat without an answer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
